"""What a study had reached after each trial."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import text

from autogate import api
from autogate.goals import Objective, make_config
from autogate.policy import Gate, Policy
from autogate.records import FrontRecord, TrialRecord
from autogate.space import load_space
from autogate.store import Store
from autogate.studies import Front, FrontHistory, complete_history, pareto_front
from tests.support.profiles import some_target

DENSE_MS = 10.0


def trial(number: int, accuracy: float | None, latency_ms: float, outcome: str = "complete") -> TrialRecord:
    predicted = {"mean": latency_ms, "p50": latency_ms, "p95": latency_ms, "max": latency_ms, "upper": latency_ms + 0.5}
    policy = Policy({f"block:{number}": Gate("drop")})
    return TrialRecord(number, outcome, policy, accuracy, predicted, None, None, 1.0)


def area(trials: list[TrialRecord]) -> float:
    front = Front("p95")
    for one in trials:
        front.add(one)
    return front.hypervolume(DENSE_MS)


def budget_of(limit_ms: float) -> Objective:
    return Objective("budget", "p95", limit_ms, None)


def test_hypervolume_by_hand() -> None:
    assert area([]) == 0.0
    assert area([trial(0, 0.9, 4.0)]) == pytest.approx(0.6 * 0.9)
    # Up to 0.2 saved the second counts, from there to 0.6 the first.
    front = [trial(0, 0.5, 4.0), trial(1, 0.9, 8.0)]
    assert area(front) == pytest.approx(0.2 * 0.9 + 0.4 * 0.5)
    # What is slower than dense, or scores below zero, covers nothing.
    assert area([trial(0, 0.9, 12.0)]) == 0.0
    assert area([trial(0, -2.0, 1.0)]) == 0.0


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


def test_the_front_is_what_no_other_beats() -> None:
    rng = random.Random(0)
    trials = [trial(i, rng.choice([0.1, 0.4, 0.5, 0.8]), rng.choice([2.0, 3.0, 5.0, 9.0])) for i in range(60)]
    history = FrontHistory(budget_of(6.0), DENSE_MS)

    def beaten(one: TrialRecord, other: TrialRecord) -> bool:
        here, there = ((t.predicted["p95"], -t.val_accuracy, t.number) for t in (one, other))
        no_worse = there[0] <= here[0] and there[1] <= here[1]
        return no_worse and (there[:2] != here[:2] or there[2] < here[2])

    for count, one in enumerate(trials, 1):
        known = trials[:count]
        front = [t for t in known if not any(beaten(t, other) for other in known)]
        expected = tuple(t.number for t in sorted(front, key=lambda t: t.predicted["p95"]))
        assert history.add(one).front == expected
        assert tuple(t.number for t in pareto_front(known, "p95")) == expected


def test_the_sql_view_says_the_same(storage: str) -> None:
    rng = random.Random(1)
    store = Store(storage, create=True)
    store.create_study("first", make_config(space=load_space("drop").to_json(), latency_budget="60%"))
    trials = [trial(i, rng.choice([0.1, 0.4, 0.5, 0.8]), rng.choice([2.0, 3.0, 5.0, 9.0])) for i in range(40)]
    for one in trials:
        store.add_trial("first", one)
    with store.session() as session:
        viewed = session.execute(text("select trial from autogate_front order by predicted_ms")).scalars().all()
    assert list(viewed) == [one.number for one in pareto_front(trials, "p95")]


def test_the_history_is_completed_and_shown(storage: str) -> None:
    store = Store(storage, create=True)
    store.create_study("first", make_config(space=load_space("drop").to_json(), latency_budget="60%"))
    for one in (trial(0, 0.9, 8.0), trial(1, 0.6, 5.0)):
        store.add_trial("first", one)
    store.add_trial("first", trial(2, 0.7, 5.0), FrontRecord(2, 0.33, 2, 0.7, (2, 0)))
    assert [front.trial for front in store.fronts("first")] == [2]
    complete_history(store, "first", FrontHistory(budget_of(6.0), DENSE_MS))
    assert [front.front for front in store.fronts("first")] == [(0,), (1, 0), (2, 0)]
    document = api.history("first", storage=storage).to_json()
    assert document["schema"] == "autogate.history/1"
    assert [point["best_trial"] for point in document["points"]] == [None, 1, 2]
    assert document["points"][-1]["hypervolume"] == pytest.approx(0.2 * 0.9 + 0.3 * 0.7)
    # For another device the same trials are told apart.
    store.update_facts("first", lambda facts: replace(facts, target=some_target(profile="another")))
    assert store.fronts("first") == []
    assert store.trials("first")[0].predicted is None
