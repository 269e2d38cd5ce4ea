"""What the machine did is told from what the networks take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autogate.latency.model import LatencyModel
from autogate.latency.timing import noise_reason, stationary
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")


@pytest.fixture(scope="module")
def space() -> BoundSpace:
    return bind(load_space("magnitude"), NETWORK.sites)


@pytest.fixture(scope="module")
def model(space: BoundSpace) -> LatencyModel:
    return LatencyModel(profile_of(NETWORK, space.gates()), NETWORK)


def test_disturbed_rounds_are_left_out() -> None:
    rng = np.random.default_rng(0)
    true_ms = np.array([1.0, 2.0, 5.0, 9.0])
    rounds = np.ones(60)
    rounds[20:45] = 1.6
    drift = 1 + 0.04 * np.sin(np.arange(60) / 5)
    table = true_ms[:, None] * (rounds * drift) * rng.normal(1, 0.01, (4, 60))
    groups = np.tile(np.arange(60), (4, 1))
    found = stationary(table, groups)
    assert not found.kept[:, 20:45].any()
    assert found.kept.sum() == 4 * 35
    assert found.medians(table) == pytest.approx(true_ms, rel=0.03)
    # One of four networks that stumbles is no disturbance of the machine.
    table = np.ones((4, 20))
    table[0, 7] = 3.0
    assert stationary(table, groups[:, :20]).kept.all()


def test_a_noisy_machine_is_noticed(model: LatencyModel) -> None:
    assert noise_reason(model.profile) is None
    noisy = tuple(replace(sample, iqr_ms=0.3 * sample.ms) for sample in model.profile.networks)
    assert "times of one network spread by 30%" in str(noise_reason(replace(model.profile, networks=noisy)))
