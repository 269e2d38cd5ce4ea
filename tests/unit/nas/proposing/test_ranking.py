"""Which trials become finalists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autogate.goals import Objective, make_config
from autogate.nas.proposing import picker
from autogate.policy import Policy
from autogate.records import (
    FinalistRecord,
    TrialRecord,
)
from autogate.space import load_space
from tests.support.records import finalist, trial

SPACE = load_space("drop").to_json()


def objective(**settings: object) -> Objective:
    return Objective.of(make_config(space=SPACE, **settings), dense_ms=10.0)


def picked(trials: list[TrialRecord], found: Objective, gain: float = 0.0, **settings: Any) -> list[int]:
    """Pick finalists until there are none left; full training adds ``gain`` to every candidate."""
    pick = picker(trials, found, **{"binding": True, "val_images": 1000, "floor": None, **settings})
    done: list[FinalistRecord] = []
    tried: set[int] = set()
    while (chosen := pick(done, tried)) is not None:
        tried.add(chosen.number)
        done.append(finalist(chosen.number, chosen.val_accuracy + gain, 0.5))
    return [f.trial for f in done]


def test_under_a_budget_the_most_accurate_come_first() -> None:
    trials = [
        trial(0, 0.90, 5.0),
        trial(1, 0.95, 5.6),  # its upper bound is over the budget
        trial(2, 0.92, 5.1),
        trial(3, None, 1.0, "rejected"),
        trial(4, 0.92, 4.0),
        TrialRecord(5, "complete", Policy(), 0.99, trial(5, 0.99, 5.0).predicted, None, None, 1.0),  # dense
    ]
    assert picked(trials, objective(latency_budget="60%")) == [4, 2, 0]


def test_a_budget_that_does_not_bind_prefers_speed_within_one_standard_error() -> None:
    loose = objective(latency_budget="200%")
    near = [trial(0, 0.920, 9.0), trial(1, 0.915, 5.0), trial(2, 0.900, 1.0)]  # the standard error is 0.0086
    assert picked(near, loose, binding=False) == [1, 0, 2]
    assert picked(near, loose, binding=True) == [0, 1, 2]


def test_finalists_of_a_front_are_spread_over_it() -> None:
    trials = [trial(i, 0.5 + 0.05 * i, 1.0 + i) for i in range(5)] + [trial(9, 0.4, 9.0)]  # 9 is beaten
    order = picked(trials, objective(pareto=True))
    assert order[0] == 2
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert abs(order[1] - 2) + abs(order[2] - 2) >= 2


def test_under_a_largest_drop_the_gain_of_full_training_is_learnt() -> None:
    # Short training leaves dense at 0.86, full training brings it to 0.90; 0.88 is allowed.
    found = replace(objective(max_drop="2%"), floor=0.84)
    trials = [trial(0, 0.70, 3.0), trial(1, 0.80, 5.0), trial(2, 0.83, 6.0), trial(3, 0.85, 8.0), trial(4, 0.86, 9.0)]
    # A gain of 0.04 is expected, so 3 is first. It gains 0.08: then 1 can make it, and 0 cannot.
    assert picked(trials, found, gain=0.08, floor=0.88)[:2] == [3, 1]
    # It gains nothing: then only the most accurate one is left to try, and so on.
    assert picked(trials, found, gain=0.0, floor=0.88)[:3] == [3, 4, 2]
    assert len(picked([trial(i, 0.5 + i / 100, 1.0 + i) for i in range(20)], found, floor=0.9)) == 5
