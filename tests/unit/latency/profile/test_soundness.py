"""A profile whose predictions make no sense says something of what else ran, not of the device."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from autogate.latency.model import LatencyModel
from autogate.latency.profile import is_plausible, nonsense_reason, spoiled_reason
from autogate.policy import Gate
from autogate.records import Profile
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")
MAPS = [(site.name, Gate("magnitude", {"ratio": 0.5})) for site in NETWORK.sites.values() if site.kind == "map"]
SOUND = profile_of(NETWORK, MAPS, networks=24)


def slowed(factors: dict[int, float]) -> Profile:
    """Return the profile with some whole networks that took longer."""
    wholes = tuple(replace(one, ms=factors.get(one.network, 1.0) * one.ms) for one in SOUND.networks)
    return replace(SOUND, networks=wholes)


def busy(device: torch.device) -> dict[str, Any]:
    return {"busiest": ["yes"], "load": 3.0}


def test_a_sound_profile() -> None:
    assert nonsense_reason(LatencyModel(SOUND, NETWORK)) is None
    assert spoiled_reason(LatencyModel(SOUND, NETWORK), state_of=busy) is None


@pytest.mark.parametrize("seed", range(5))
def test_spoiled_networks_are_noticed_and_the_cause_is_named(seed: int) -> None:
    rng = random.Random(seed)
    factors = {number: rng.uniform(5.0, 70.0) for number in rng.sample(range(1, 24), rng.randint(2, 6))}
    latency = LatencyModel(slowed(factors), NETWORK)
    assert "more than the profile predicts" in str(nonsense_reason(latency)) or latency.dense_ms <= 0
    assert "other programs are running: yes" in str(spoiled_reason(latency, state_of=busy))


def test_one_spoiled_network_of_a_few_is_enough() -> None:
    few = replace(SOUND, networks=SOUND.networks[:10])
    wholes = tuple(replace(one, ms=70 * one.ms if one.network == 6 else one.ms) for one in few.networks)
    assert nonsense_reason(LatencyModel(replace(few, networks=wholes), NETWORK)) is not None


@pytest.mark.parametrize(("slowdown", "is_so"), [(1.0, True), (0.75, True), (1.3, True), (0.4, False), (2.6, False)])
def test_how_far_a_device_may_have_drifted(slowdown: float, is_so: bool) -> None:
    assert is_plausible(slowdown) is is_so
