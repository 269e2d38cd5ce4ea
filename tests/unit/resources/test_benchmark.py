"""Finalists beside dense, on a machine whose noise is simulated."""

from __future__ import annotations

import random
from typing import Any

import pytest
from torch import nn

from autogate.goals import LatencyBudget
from autogate.latency.hardware import Patience
from autogate.policy import Gate, Policy
from autogate.records import Comparison
from autogate.resources import FinalistBenchmark
from tests.support.data import few_digits
from tests.support.networks import known_network
from tests.support.profiles import SETTING
from tests.support.records import comparison

NETWORK = known_network("resnet20")
DROP = Policy({"block:layer1.1": Gate("drop")})
DENSE_MS = 10.0


def measured(*found: Comparison, budget: LatencyBudget | None = None) -> tuple[Comparison, list[float]]:
    """Return what a benchmark says if its measurements are these, one after the other, and how long each was."""
    left, seconds = iter(found), []

    def compare(*_: Any, **how: Any) -> Comparison:
        seconds.append(how["seconds"])
        return next(left)

    calm = Patience(0.0, busy_cores=lambda: 0.0)
    bench = FinalistBenchmark(NETWORK, few_digits().val, SETTING, "p50", DENSE_MS, patience=calm, compare=compare)
    return bench.measure(DROP, nn.Identity(), budget), seconds


def test_a_quiet_measurement_is_taken_as_it_is() -> None:
    for dense_ms in (6.0, 10.0, 12.0):
        found, seconds = measured(comparison(0.7, dense_ms=dense_ms))
        assert found == comparison(0.7, dense_ms=dense_ms)
        assert len(seconds) == 1


def test_a_disturbed_one_is_made_again() -> None:
    quiet = comparison(0.68, dense_ms=10.3)
    found, seconds = measured(comparison(0.6, dense_ms=20.0), quiet)
    assert found == quiet
    assert len(seconds) == 2


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_is_never_narrower_than_the_noise(seed: int) -> None:
    """Noise slows each network by some factor between none and what is seen of dense; the truth stays inside."""
    rng = random.Random(seed)
    truth = rng.uniform(0.3, 1.0)
    tries = []
    for _ in range(3):
        slow_dense, slow_gated = sorted((rng.uniform(1.5, 6.0), rng.uniform(1.0, 6.0)), reverse=True)
        tries.append(comparison(truth * slow_gated / slow_dense, half=0.001, dense_ms=slow_dense * DENSE_MS))
    found, seconds = measured(*tries)
    assert len(seconds) == 3
    assert found.ratio_interval[0] <= truth <= found.ratio_interval[1]
    low_ms, high_ms = found.gated.interval
    assert low_ms <= truth * DENSE_MS <= high_ms


def test_a_near_miss_gets_a_longer_look() -> None:
    budget = LatencyBudget("70%", None, 0.7)
    found, seconds = measured(comparison(0.7), comparison(0.69, half=0.001), budget=budget)
    assert found.ratio == 0.69
    assert seconds[1] > seconds[0]
