"""What a study had reached after each trial."""

from __future__ import annotations

import random

import pytest

from autogate import api
from autogate.goals import Objective, make_config, pareto_front
from autogate.policy import Gate, Policy
from autogate.records import FrontRecord, TrialRecord
from autogate.space import load_space
from autogate.store import Store
from autogate.studies import FrontHistory, complete_history
from autogate.studies.front_history import hypervolume

DENSE_MS = 10.0


def trial(number: int, accuracy: float | None, latency_ms: float, outcome: str = "complete") -> TrialRecord:
    predicted = {"mean": latency_ms, "p50": latency_ms, "p95": latency_ms, "max": latency_ms, "upper": latency_ms + 0.5}
    policy = Policy({f"block:{number}": Gate("drop")})
    return TrialRecord(number, outcome, policy, accuracy, predicted, None, None, 1.0)


def budget_of(limit_ms: float) -> Objective:
    return Objective("budget", "p95", limit_ms, None)


def test_hypervolume_by_hand() -> None:
    assert hypervolume([], "p95", DENSE_MS) == 0.0
    assert hypervolume([trial(0, 0.9, 4.0)], "p95", DENSE_MS) == pytest.approx(0.6 * 0.9)
    # Up to 0.2 saved the second counts, from there to 0.6 the first.
    front = [trial(0, 0.5, 4.0), trial(1, 0.9, 8.0)]
    assert hypervolume(front, "p95", DENSE_MS) == pytest.approx(0.2 * 0.9 + 0.4 * 0.5)
    # What is slower than dense, or scores below zero, covers nothing.
    assert hypervolume([trial(0, 0.9, 12.0)], "p95", DENSE_MS) == 0.0
    assert hypervolume([trial(0, -2.0, 1.0)], "p95", DENSE_MS) == 0.0


def test_a_study_step_by_step() -> None:
    history = FrontHistory(budget_of(6.0), DENSE_MS)
    found = [
        history.add(one)
        for one in (
            trial(0, None, 10.0, "rejected"),
            trial(1, 0.9, 8.0),  # over the budget, and yet on the front
            trial(2, 0.6, 5.0),
            trial(3, 0.5, 5.2),  # beaten by 2
            trial(4, None, 3.0, "failed"),
            trial(5, 0.7, 5.0),  # beats 2
            trial(6, 0.7, 5.0, "reused"),
        )
    ]
    assert [front.best_trial for front in found] == [None, None, 2, 2, 2, 5, 5]
    assert [front.best_val_accuracy for front in found] == [None, None, 0.6, 0.6, 0.6, 0.7, 0.7]
    assert [front.front for front in found] == [(), (1,), (2, 1), (2, 1), (2, 1), (5, 1), (5, 1)]
    areas = [front.hypervolume for front in found]
    assert areas == sorted(areas)
    assert areas[-1] == pytest.approx(0.2 * 0.9 + 0.3 * 0.7)


def test_the_front_is_the_one_that_is_shown() -> None:
    rng = random.Random(0)
    trials = [trial(i, rng.choice([0.1, 0.4, 0.5, 0.8]), rng.choice([2.0, 3.0, 5.0, 9.0])) for i in range(60)]
    history = FrontHistory(budget_of(6.0), DENSE_MS)
    for count, one in enumerate(trials, 1):
        shown = pareto_front(trials[:count], "p95")
        assert history.add(one).front == tuple(member.number for member in shown)


def test_the_history_is_completed_and_shown(storage: str) -> None:
    store = Store(storage, create=True)
    store.create_study("first", make_config(space=load_space("drop").to_json(), latency_budget="60%").to_json())
    store.set_facts("first", {"dense_predicted_ms": DENSE_MS})
    for one in (trial(0, 0.9, 8.0), trial(1, 0.6, 5.0)):
        store.add_trial("first", one)
    store.add_trial("first", trial(2, 0.7, 5.0), FrontRecord(2, 0.33, 2, 0.7, (2, 0)))
    assert [front.trial for front in store.fronts("first")] == [2]
    complete_history(store, "first", FrontHistory(budget_of(6.0), DENSE_MS))
    assert [front.front for front in store.fronts("first")] == [(0,), (1, 0), (2, 0)]
    document = api.history("first", storage=storage)
    assert document["schema"] == "autogate.history/1"
    assert [point["best_trial"] for point in document["points"]] == [None, 1, 2]
    assert document["points"][-1]["hypervolume"] == pytest.approx(0.2 * 0.9 + 0.3 * 0.7)
    # For another device the same trials are told apart.
    store.set_facts("first", {"profile": "another"})
    assert store.fronts("first") == []
    assert store.trials("first")[0].predicted is None
