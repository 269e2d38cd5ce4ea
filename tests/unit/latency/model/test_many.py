"""Many policies at once, against one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from autogate.latency.model import LatencyModel, ManyPredictor
from autogate.policy import Policy
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from autogate.surgery import canonical
from tests.support.networks import FAST, SIZES, known_network
from tests.support.profiles import profile_of

NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in SIZES]


def drawn(space: BoundSpace, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    share = rng.random((count, 1))
    columns = [rng.integers(0, len(d.options), count) for d in space.decisions]
    return np.stack(columns, axis=1) * (rng.random((count, len(columns))) < share)


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_predicted_as_each_one_is(name: str) -> None:
    network = known_network(name)
    space = bind(load_space("unified"), network.sites)
    model = LatencyModel(profile_of(network, space.gates(), offset_ms=0.3, slope=1.1), network)
    choices = drawn(space, 60, seed=0)
    one_by_one = []
    for row in choices:
        gates = [list(d.options.values())[choice] for d, choice in zip(space.decisions, row, strict=True)]
        merged = {site: gate for part in gates for site, gate in part.items()}
        one_by_one.append(model.predict(canonical(Policy(merged), network.sites)).p50)
    predictor = ManyPredictor(model, space)
    assert predictor.predict_ms(choices) == pytest.approx(np.array(one_by_one), rel=1e-9)
    # What was worked out is looked up.
    assert predictor.predict_ms(choices[::-1]) == pytest.approx(np.array(one_by_one[::-1]), rel=1e-9)
