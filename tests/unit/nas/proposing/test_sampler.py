"""Samplers are asked in memory, about a window of the study, and answer the same in any process."""

from __future__ import annotations

import random

import pytest
from optuna.trial import TrialState

from autogate.nas.proposing import Sampler, SamplerTrial

CHOICES = {f"site{i}": ("dense", "drop", "half") for i in range(6)}
UP = ["maximize"]


def sampler(kind: str = "tpe", **settings: object) -> Sampler:
    return Sampler(kind, 0, UP, CHOICES, **{"parallel": False, **settings})  # type: ignore[arg-type]


def drawn(rng: random.Random) -> dict[str, str]:
    return {name: rng.choice(options) for name, options in CHOICES.items()}


def complete(choices: dict[str, str], value: float, over: float = -1.0) -> SamplerTrial:
    return SamplerTrial(choices, TrialState.COMPLETE, [value], {"latency": over})


def history(count: int) -> list[SamplerTrial]:
    """Trials that are the better, the more of their sites are dropped."""
    rng = random.Random(1)
    found = [drawn(rng) for _ in range(count)]
    return [complete(choices, sum(choice == "drop" for choice in choices.values())) for choices in found]


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_proposal_is_the_same_whichever_process_draws_it(kind: str) -> None:
    before = history(30)
    one, other = sampler(kind), sampler(kind)
    for number, seen in enumerate(before):
        one.end(number, seen)
    other.learn(before)
    for index in (0, 1):  # draws that are thrown away
        other.draw(index)
    assert one.draw(30) == other.draw(30)


@pytest.mark.parametrize("parallel", [False, True])
def test_trials_that_end_between_two_draws_are_learnt_from(parallel: bool) -> None:
    asked, other = sampler(parallel=parallel), sampler(parallel=parallel)
    before = history(200)
    asked.draw(0)
    for number, seen in enumerate(before):
        asked.end(number, seen)
    other.learn(before)
    draws = [asked.draw(index) for index in range(200, 220)]
    assert draws[0] == other.draw(200)
    assert sum(choice == "drop" for choices in draws for choice in choices.values()) > 0.6 * 20 * len(CHOICES)


def test_tpe_learns_and_random_does_not() -> None:
    share = {}
    for kind in ("tpe", "random"):
        asked = sampler(kind)
        asked.learn(history(200))
        draws = [asked.draw(index) for index in range(20)]
        share[kind] = sum(choice == "drop" for choices in draws for choice in choices.values()) / (20 * len(CHOICES))
    assert share["tpe"] > 0.6
    assert share["random"] < 0.5


def test_what_is_over_its_limit_is_avoided() -> None:
    asked = sampler()
    rng = random.Random(2)
    for number in range(200):
        choices = drawn(rng)
        # The best by its value would drop everything, but what drops the first site is too slow.
        value = sum(choice == "drop" for choice in choices.values())
        asked.end(number, complete(choices, value, 1.0 if choices["site0"] == "drop" else -1.0))
    draws = [asked.draw(index) for index in range(20)]
    assert sum(choices["site0"] == "drop" for choices in draws) <= 4


def test_of_a_long_study_it_sees_the_best_and_the_latest() -> None:
    asked = sampler()
    seen = history(3000)
    asked.learn(seen)
    window = asked._study.get_trials(deepcopy=False)
    assert len(window) == 1000
    latest = [trial.params for trial in window[-500:]]
    assert latest == [dict(one.choices) for one in seen[-500:]]
    worst_kept = min(trial.value for trial in window[:500])
    left_out = sorted((one.values[0] for one in seen[:2500] if one.values), reverse=True)[500:]
    assert worst_kept >= max(left_out)
    for number in range(3000, 3500):  # and it does not grow without end
        asked.end(number, complete(drawn(random.Random(number)), 0.0))
    assert len(asked._study.get_trials(deepcopy=False)) <= 1201


def test_running_candidates_are_kept_away_from() -> None:
    asked = sampler(parallel=True)
    asked.learn(history(40))
    for number in range(40, 44):
        choices = asked.draw(number)
        asked.begin(number, SamplerTrial(choices, TrialState.RUNNING, None, {"latency": -1.0}))
    states = [trial.state for trial in asked._study.get_trials(deepcopy=False)]
    assert states.count(TrialState.RUNNING) == 4
    asked.end(41, complete(drawn(random.Random(0)), 3.0))
    states = [trial.state for trial in asked._study.get_trials(deepcopy=False)]
    assert (states.count(TrialState.RUNNING), states.count(TrialState.COMPLETE)) == (3, 41)


def test_trials_of_another_space_are_left_out() -> None:
    asked = sampler()
    choices = drawn(random.Random(0))
    asked.learn([complete({**choices, "site0": "unknown"}, 1.0), complete({"site1": "drop"}, 1.0)])
    asked.end(2, complete(choices, 1.0))
    assert len(asked._study.get_trials(deepcopy=False)) == 1
