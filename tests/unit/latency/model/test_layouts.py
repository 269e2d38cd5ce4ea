"""Changes of the memory layout between units: found from samples, and counted once on the way there and back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from autogate.latency.model import LatencyModel, ManyPredictor, cut_into_units, keys_of
from autogate.latency.model.layouts import NO_ENTRY, LayoutChanges, deciding, entries, is_entry
from autogate.latency.model.timelines import Timelines
from autogate.policy import Gate, Policy
from autogate.records import Profile, UnitSample
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from autogate.surgery import canonical
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")
UNITS = cut_into_units(NETWORK)
BLOCKS = [name for name, site in NETWORK.sites.items() if site.kind == "block"]
LCNET, DROP, HALF = Gate("lcnet"), Gate("drop"), Gate("magnitude", {"ratio": 0.5})
THERE_MS, BACK_MS = 0.4, 0.1


def keys(gates: dict[str, Gate], decision: int = 1) -> tuple[str, ...]:
    policy = canonical(Policy(gates), NETWORK.sites)
    return keys_of(UNITS, policy, dict.fromkeys(gates, decision))


def entry_ms(key: str) -> float:
    """What a device takes that brings data into the plain layout for gated blocks, and back for others."""
    before, after, _ = key.split(">")
    return BACK_MS if before and not after else THERE_MS if after and not before else 0.0


def samples(policies: list[dict[str, Gate]]) -> list[UnitSample]:
    found = []
    for number, gates in enumerate(policies):
        found += [UnitSample(key, entry_ms(key), 0.0, 9, number) for _, key in entries(keys(gates))]
    return found


SEEN = samples([{BLOCKS[1]: LCNET, BLOCKS[2]: LCNET, BLOCKS[4]: LCNET}, {BLOCKS[0]: LCNET}, {BLOCKS[6]: LCNET}])


def test_only_gates_that_decide_on_data_are_told() -> None:
    lcnet, drop, half = (
        next(key for key in keys({site: gate}) if "|" in key)
        for site, gate in ((BLOCKS[0], LCNET), (BLOCKS[0], DROP), ("map:layer1.0.conv1", HALF))
    )
    assert (deciding(lcnet), deciding(drop), deciding(half)) == ("block 0:lcnet", "", "")


def test_places_where_layouts_may_change_are_around_such_gates() -> None:
    assert list(entries(keys({}))) == []
    assert list(entries(keys({BLOCKS[1]: DROP, "map:layer1.0.conv1": HALF}))) == []
    found = [key.rsplit(">", 1)[0] for _, key in entries(keys({BLOCKS[0]: LCNET, BLOCKS[1]: DROP, BLOCKS[2]: LCNET}))]
    # A block that is left out passes on what it gets.
    assert found == [">block 0:lcnet", "block 0:lcnet>block 0:lcnet", "block 0:lcnet>"]
    assert all(is_entry(sample.key) for sample in SEEN)
    assert not any(map(is_entry, keys({BLOCKS[0]: LCNET})))


def composed(gates: dict[str, Gate], layouts: LayoutChanges) -> float:
    lines = Timelines(1, synchronous=True)
    for key in keys(gates):
        if key:
            lines.run(0.0, entry=layouts.entry(key))
    return float(lines.device_ms[0])


@pytest.mark.parametrize(
    ("gated", "left_out", "ways"),
    [
        ([], [], 0),
        ([1], [], 1),
        ([1, 2], [], 1),
        ([0, 2], [], 2),
        # A block that is left out between two gated ones is no way back.
        ([0, 2], [1], 1),
        # The first block of each later stage takes no gate.
        ([0, 1, 2, 3, 4, 5, 6], [], 3),
    ],
)
def test_the_way_there_and_back_is_counted_once_for_gates_side_by_side(
    gated: list[int], left_out: list[int], ways: int
) -> None:
    gates = {**{BLOCKS[i]: LCNET for i in gated}, **{BLOCKS[i]: DROP for i in left_out}}
    assert composed(gates, LayoutChanges(SEEN)) == pytest.approx(ways * (THERE_MS + BACK_MS))


def test_a_gate_that_stays_in_the_runtimes_layout_is_found_from_the_samples() -> None:
    quiet = [UnitSample(sample.key, 0.0, 0.0, 9, 0) for sample in SEEN]
    layouts = LayoutChanges(quiet)
    assert composed({BLOCKS[1]: LCNET, BLOCKS[3]: LCNET}, layouts) == 0.0
    assert not LayoutChanges([]).known
    assert LayoutChanges([]).entry(keys({BLOCKS[1]: LCNET})[3]) == NO_ENTRY


def named(row: list[int], space: BoundSpace) -> dict[str, str]:
    return {one.name: one.choices[choice] for one, choice in zip(space.decisions, row, strict=True)}


def test_many_policies_are_predicted_as_one_by_one() -> None:
    space = bind(load_space("lcnet"), NETWORK.sites)
    gates = [(site, gate) for site, gate in space.gates() if site in BLOCKS]
    plain = profile_of(NETWORK, [*gates, *((site, gate) for site, gate in space.gates() if site not in BLOCKS)])
    profile = Profile(**{**vars(plain), "units": (*plain.units, *SEEN)})
    model, before = LatencyModel(profile, NETWORK), LatencyModel(plain, NETWORK)
    rng = random.Random(0)
    choices = np.array([[rng.randrange(len(one.options)) for one in space.decisions] for _ in range(50)])
    many_ms = ManyPredictor(model, space).predict_ms(choices)
    policies = [canonical(space.policy(named(row, space)), NETWORK.sites) for row in choices.tolist()]
    one_by_one_ms = [model.predict(policy).p50 for policy in policies]
    assert many_ms == pytest.approx(one_by_one_ms)
    assert max(ms - before.predict(policy).p50 for ms, policy in zip(one_by_one_ms, policies, strict=True)) > THERE_MS
