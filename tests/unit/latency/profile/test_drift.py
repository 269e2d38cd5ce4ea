"""How slow a device is now, by networks that its profile has seen."""

from __future__ import annotations

import numpy as np
import pytest

from autogate.latency.model import LatencyModel
from autogate.latency.profile import drift_networks, slowdown_of
from autogate.policy import DENSE, Policy
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


def test_canaries_of_the_profile_tell_how_slow_the_device_is(model: LatencyModel) -> None:
    beside = drift_networks(model, 5)
    assert len(beside) == 5
    seen = {Policy.from_json(sample.policy).digest for sample in model.profile.networks}
    assert {planned.policy.digest for planned in beside} <= seen - {DENSE.digest}
    ms = np.array([model.predict(planned.policy).p50 for planned in beside])
    # One of five that stumbles says nothing.
    assert slowdown_of(model, beside, ms * [1.3, 1.3, 9.0, 1.3, 1.3]) == pytest.approx(1.3)
