"""Why gates do not pay, on hand-made devices of which one limit binds everything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from autogate.latency.model import LatencyModel, explain_gates, explain_units
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")
MAP = "map:layer2.1.conv1"


def space_of(name: str, *sites: str) -> BoundSpace:
    return bind(load_space(name), NETWORK.sites).restricted(lambda site, gate: site in sites)


def unpaying(space: BoundSpace, limits: Mapping[str, float]) -> LatencyModel:
    """Return the model of a device on which gates save nothing, with the limits given."""
    taken = profile_of(NETWORK, space.gates())
    dense = {unit.key: unit.ms for unit in taken.units if "|" not in unit.key}
    ms = {unit.key: dense[unit.key.split("|")[0]] * (1.1 if "|" in unit.key else 1.0) for unit in taken.units}
    units = tuple(replace(unit, ms=ms[unit.key]) for unit in taken.units)
    networks = tuple(replace(network, ms=sum(map(ms.__getitem__, network.keys))) for network in taken.networks)
    card = replace(taken.card, **limits)
    return LatencyModel(replace(taken, units=units, networks=networks, card=card), NETWORK)


@pytest.mark.parametrize(
    ("family", "limits", "reason"),
    [
        ("magnitude", {"launch_us": 1e6}, "launch-bound: .* operators instead of .*, most too small"),
        ("antidote", {"launch_us": 0.0, "copy_gb_per_s": 1e-3}, "gather-bound: .*% of the MACs are left, but .*bytes"),
        ("magnitude", {"launch_us": 0.0}, "staircase: .*% of the MACs are left, but the kernels take as long"),
    ],
)
def test_a_gate_that_saves_nothing_comes_with_the_reason(family: str, limits: dict[str, float], reason: str) -> None:
    space = space_of(family, MAP)
    found = explain_gates(unpaying(space, limits), space)
    assert {one.site for one in found} == {MAP}
    assert all(one.saved_ms < 0 for one in found)
    assert all(re.match(reason, str(one.reason)) for one in found)


def test_a_gate_that_saves_needs_no_reason() -> None:
    space = space_of("magnitude", MAP)
    found = explain_gates(LatencyModel(profile_of(NETWORK, space.gates()), NETWORK), space)
    assert all(one.reason is None and one.saved_ms > 0 for one in found)


def test_the_time_of_a_network_is_that_of_its_units() -> None:
    model = LatencyModel(profile_of(NETWORK, space_of("magnitude", MAP).gates()), NETWORK)
    found = explain_units(model)
    assert sum(unit.share for unit in found) == pytest.approx(1.0)
    assert sum(unit.dense_ms for unit in found) == pytest.approx(model.dense_ms)
    slow = replace(model.profile, card=replace(model.profile.card, launch_us=1e6))
    assert {unit.regime for unit in explain_units(LatencyModel(slow, NETWORK))} == {"launch-bound"}
