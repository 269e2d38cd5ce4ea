"""Samplers are asked in memory, about a window of the study, and answer the same in any process."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from autogate.errors import AutoGateError
from autogate.goals import SAMPLERS, make_config
from autogate.nas.proposing import Sampler, SamplerTrial, load_sampler

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


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_proposal_is_the_same_whichever_process_draws_it(kind: str) -> None:
    before = history(30)
    one, other = sampler(kind), sampler(kind)
    one.draw(0)
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


def test_all_learn_but_random() -> None:
    share = {}
    for kind in SAMPLERS:
        asked = sampler(kind)
        asked.learn(history(60 if kind == "gp" else 200))
        draws = [asked.draw(index) for index in range(5 if kind == "gp" else 20)]
        chosen = [choice for choices in draws for choice in choices.values()]
        share[kind] = chosen.count("drop") / len(chosen)
    assert min(share["tpe"], share["gp"], share["nsgaii"]) > 0.6
    assert share["random"] < 0.5


def test_generations_are_filled_by_whoever_proposed() -> None:
    """Candidates that the sampler did not draw are parents too, and those that were rejected are not."""
    asked = sampler("nsgaii")
    for number, seen in enumerate(history(45)):
        asked.end(number, seen)
        asked.end(1000 + number, SamplerTrial(seen.choices, TrialState.PRUNED, None, {"latency": 1.0}))
    trials = [trial for trial in asked._study.get_trials() if trial.state == TrialState.COMPLETE]
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in trials]
    assert generations == [number // 20 for number in range(45)]


@pytest.mark.parametrize("kind", SAMPLERS)
def test_two_objectives_and_running_candidates_suit_every_sampler(kind: str) -> None:
    asked = Sampler(kind, 0, ["maximize", "minimize"], CHOICES, parallel=True)
    for number, seen in enumerate(history(30)):
        asked.end(number, SamplerTrial(seen.choices, TrialState.COMPLETE, [seen.values[0], 1.0], {"memory": -1.0}))
    for number in range(30, 33):
        asked.begin(number, SamplerTrial(asked.draw(number), TrialState.RUNNING, None, {"memory": -1.0}))
    assert set(asked.draw(33)) == set(CHOICES)


class First(optuna.samplers.BaseSampler):
    """Always takes the first choice, and remembers what it was told."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self.ended: list[tuple[TrialState, list[float] | None, dict[str, float]]] = []

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return param_distribution.choices[0]

    def after_trial(self, study: Any, trial: Any, state: TrialState, values: Any) -> None:
        self.ended.append((state, values, trial.constraints))


class Failing(First):
    def sample_independent(self, *_: Any) -> Any:
        raise ZeroDivisionError("no\nluck")


def test_a_sampler_of_the_callers_is_asked_and_told() -> None:
    own = First()
    asked = sampler("python:First", custom=own)
    assert asked.is_guided
    choices = asked.draw(0)
    assert set(choices.values()) == {"dense"}
    asked.begin(0, SamplerTrial(choices, TrialState.RUNNING, None, {"latency": -1.0}))
    asked.end(0, complete(choices, 0.5))
    assert own.ended == [(TrialState.COMPLETE, [0.5], {"latency": -1.0})]
    asked.learn(history(3000))  # another window: it is the same sampler
    assert set(asked.draw(1).values()) == {"dense"}
    assert asked._study.sampler is own


def test_any_sampler_of_optuna_can_be_brought_along() -> None:
    for own in (optuna.samplers.TPESampler(seed=0), optuna.samplers.NSGAIIISampler(seed=0, population_size=10)):
        asked = sampler("python:X", custom=own)
        for number, seen in enumerate(history(30)):
            asked.end(number, seen)
            assert set(asked.draw(number)) == set(CHOICES)


def test_a_sampler_that_fails_is_named_in_a_line() -> None:
    with pytest.raises(AutoGateError, match="^sampler python:Failing failed: ZeroDivisionError: no; continue the"):
        sampler("python:Failing", custom=Failing()).draw(0)


def test_samplers_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brought.py").write_text(
        "import optuna\n\ndef make(seed):\n    return optuna.samplers.QMCSampler(seed=seed)\n\n"
        "def wrong():\n    return 1\n\ndef failing():\n    raise OSError('no')\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert [load_sampler(kind, 0) for kind in SAMPLERS] == [None] * len(SAMPLERS)
    assert isinstance(load_sampler("brought:make", 0), optuna.samplers.QMCSampler)
    for kind, complaint in (
        ("brought:wrong", "brought:wrong must return an optuna.samplers.BaseSampler, not int"),
        ("brought:mak", "'brought' has no callable 'mak'; did you mean make"),
        ("brought:failing", "brought:failing failed when called: OSError: no"),
        ("nowhere:make", "cannot import 'nowhere'"),
        ("python:First", "sampler python:First was passed from Python; pass it again"),
    ):
        with pytest.raises(AutoGateError, match=complaint):
            load_sampler(kind, 0)
    for text in ("bayes", "TPE", ""):
        with pytest.raises(AutoGateError, match="sampler must be tpe, random, gp, nsgaii or package.module:factory"):
            make_config(space={}, pareto=True, sampler=text)


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
