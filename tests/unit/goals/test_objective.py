"""What a search maximises, and which trials its front and its finalists are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autogate.goals import Budgets, Objective, make_config
from autogate.records import (
    Estimate,
    TrialRecord,
)
from autogate.space import load_space
from autogate.studies import pareto_front
from tests.support.records import trial

SPACE = load_space("drop").to_json()


def budget(text: str) -> Budgets:
    return Budgets.parse(latency=text)


def estimate(ms: float, error: float = 0.1) -> Estimate:
    return Estimate(ms, ms, 1.5 * ms, 2 * ms, error)


def objective(**settings: object) -> Objective:
    return Objective.of(make_config(space=SPACE, **settings), dense_ms=10.0)


def test_budget_objective() -> None:
    found = objective(latency_budget="60%", latency_stat="p95")
    assert found.limit_ms == pytest.approx(6.0)
    assert found.directions == ["maximize"]
    # The bound that counts is the upper end of the chosen statistic: 1.5 * 3.6 * 1.1 = 5.94.
    assert found.fits(estimate(3.6))
    assert not found.fits(estimate(3.7))
    assert found.excess_ms(estimate(3.7)) == pytest.approx(1.5 * 3.7 * 1.1 - 6.0)
    assert found.excess_ms(estimate(3.6)) < 0
    assert found.values(0.8, 3.0) == [0.8]
    assert found.acceptable(0.1, 6.0)
    assert not found.acceptable(0.99, 6.1)
    assert found.rank(0.9, 5.0) < found.rank(0.8, 1.0)
    assert found.rank(0.9, 4.0) < found.rank(0.9, 5.0)
    assert objective(latency_budget="5ms").limit_ms == 5.0


def test_drop_objective() -> None:
    found = objective(max_drop="2%", latency_stat="p50")
    assert found.limit_ms is None
    assert found.floor is None  # until the dense network has been scored
    found = replace(found, floor=0.88)
    assert found.directions == ["minimize"]
    assert found.fits(estimate(1e6))
    assert found.values(0.8, 3.0) == [3.0]
    assert found.acceptable(0.88, 1e6)
    assert not found.acceptable(0.87, 1.0)
    assert found.rank(0.88, 1.0) < found.rank(0.99, 2.0)


def test_pareto_objective() -> None:
    found = objective(pareto=True, latency_stat="mean")
    assert found.directions == ["maximize", "minimize"]
    assert found.values(0.8, 3.0) == [0.8, 3.0]
    assert found.acceptable(0.0, 1e6)


def test_front_holds_what_nothing_beats() -> None:
    trials = [
        trial(0, 0.90, 10.0),
        trial(1, 0.80, 5.0),
        trial(2, 0.79, 6.0),  # slower and worse than 1
        trial(3, 0.85, 7.0),
        trial(4, 0.85, 7.5),  # as good as 3, but slower
        trial(5, None, 1.0, "rejected"),
        trial(6, 0.80, 5.0),  # the same point as 1
    ]
    assert [t.number for t in pareto_front(trials, "p95")] == [1, 3, 0]
    assert pareto_front([], "p95") == []


def test_front_against_brute_force() -> None:
    import random

    rng = random.Random(0)
    trials = [trial(i, rng.randint(0, 20) / 20, float(rng.randint(1, 20))) for i in range(200)]

    def beaten(t: TrialRecord) -> bool:
        a, ms = t.val_accuracy, t.predicted["p50"]
        return any(
            o.val_accuracy >= a and o.predicted["p50"] <= ms and (o.val_accuracy > a or o.predicted["p50"] < ms)
            for o in trials
        )

    points = {(t.val_accuracy, t.predicted["p50"]) for t in trials if not beaten(t)}
    front = pareto_front(trials, "p50")
    assert {(t.val_accuracy, t.predicted["p50"]) for t in front} == points
    assert len(front) == len(points)
