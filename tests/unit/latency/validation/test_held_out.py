"""Networks that a profile has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from autogate.errors import ProfileError
from autogate.latency.model import LatencyModel
from autogate.latency.validation import plan_held_out
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


def test_held_out_networks_reach_from_the_lightest_to_dense(model: LatencyModel, space: BoundSpace) -> None:
    planned = plan_held_out(model, space, 30, seed=3)
    assert len(planned) == 30
    assert planned[0].policy == DENSE
    ms = np.array([model.predict(p.policy, p.realisation(NETWORK.sites, 1)).p50 for p in planned])
    assert ms.min() < 0.75 * model.dense_ms
    assert np.histogram(ms, bins=5)[0].min() >= 3
    again = [p.policy.digest for p in plan_held_out(model, space, 30, seed=3)]
    assert again == [p.policy.digest for p in planned]
    assert again != [p.policy.digest for p in plan_held_out(model, space, 30, seed=4)]
    assert len(set(again)) == 30
    seen = {Policy.from_json(sample.policy).digest for sample in model.profile.networks}
    assert seen & set(again) == {DENSE.digest}


def test_a_space_that_the_profile_has_seen_whole_holds_nothing_out() -> None:
    drop = bind(load_space("drop"), NETWORK.sites).restricted(lambda site, gate: site == "block:layer1.1")
    seen = LatencyModel(profile_of(NETWORK, drop.gates()), NETWORK)
    with pytest.raises(ProfileError, match="the profile has seen every network of this space"):
        plan_held_out(seen, drop, 5, seed=0)
