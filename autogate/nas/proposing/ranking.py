"""Which candidates are worth a full training and a measurement, and in which order."""

from __future__ import annotations

from collections.abc import Callable

from autogate.goals import Objective, standard_error
from autogate.records import FinalistRecord, TrialRecord
from autogate.studies import pareto_front

Pick = Callable[[list[FinalistRecord], set[int]], TrialRecord | None]
"""Names the next candidate to finish, given those finished and the numbers of all tried; None if none is worth it."""
# Under a largest drop, attempts that may fail before dense is the answer.
_MOST_DROP_FINALISTS = 5


def picker(
    trials: list[TrialRecord], objective: Objective, *, binding: bool, val_images: int, floor: float | None
) -> Pick:
    """Return how to pick finalists.

    Args:
        trials: The study's trials.
        objective: What the search was after.
        binding: Whether the budget rules dense out.
        val_images: Number of validation images.
        floor: Lowest validation accuracy allowed after full training, if there is one.
    """
    candidates = _distinct(trials, objective)
    if floor is not None:
        return _by_expected_gain(pareto_front(candidates, objective.stat), objective, floor)
    if objective.mode == "pareto":
        return _in_order(_spread(pareto_front(candidates, objective.stat)))
    ranked = sorted(candidates, key=lambda t: objective.rank(_accuracy(t), _latency(t, objective)))
    if not binding and ranked:
        ranked = _fastest_of_equals(ranked, objective, val_images)
    return _in_order(ranked)


def _distinct(trials: list[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Trained candidates within the budget, each policy once; dense needs no further training."""
    found: dict[str, TrialRecord] = {}
    for trial in trials:
        if trial.val_accuracy is None or trial.policy is None or trial.predicted is None or trial.policy.is_dense:
            continue
        if objective.limit_ms is None or trial.predicted["upper"] <= objective.limit_ms:
            found.setdefault(trial.policy.digest, trial)
    return list(found.values())


def _in_order(ranked: list[TrialRecord]) -> Pick:
    return lambda done, tried: next((trial for trial in ranked if trial.number not in tried), None)


def _fastest_of_equals(ranked: list[TrialRecord], objective: Objective, val_images: int) -> list[TrialRecord]:
    """Put the candidates within one standard error of the best first, the fastest of them before the others."""
    best = _accuracy(ranked[0])
    error = standard_error(best, val_images)
    near = sorted((t for t in ranked if _accuracy(t) >= best - error), key=lambda t: _latency(t, objective))
    return [*near, *(t for t in ranked if t not in near)]


def _spread(front: list[TrialRecord]) -> list[TrialRecord]:
    """Order the points of a front so that any first few of them are spread over it, from its middle on."""
    ordered: list[TrialRecord] = []
    parts = [front]
    while parts:
        part = parts.pop(0)
        if part:
            middle = len(part) // 2
            ordered.append(part[middle])
            parts += [part[middle + 1 :], part[:middle]]
    return ordered


def _by_expected_gain(front: list[TrialRecord], objective: Objective, floor: float) -> Pick:
    """Pick the fastest candidate that full training should lift above ``floor``.

    What full training gains on short training is learnt from the finalists so far, the smallest gain counting; the
    first guess is what brings the short training's own floor up to ``floor``.
    """
    by_number = {trial.number: trial for trial in front}

    def pick(done: list[FinalistRecord], tried: set[int]) -> TrialRecord | None:
        left = [trial for trial in front if trial.number not in tried]
        if not left or len(tried) >= _MOST_DROP_FINALISTS:
            return None
        gains = [f.val_accuracy - _accuracy(by_number[f.trial]) for f in done if f.trial in by_number]
        gain = min(gains, default=floor - (objective.floor if objective.floor is not None else floor))
        hopeful = [trial for trial in left if _accuracy(trial) + gain >= floor]
        if hopeful:
            return min(hopeful, key=lambda t: _latency(t, objective))
        return max(left, key=_accuracy)

    return pick


def _accuracy(trial: TrialRecord) -> float:
    assert trial.val_accuracy is not None  # noqa: S101 - candidates are trained
    return trial.val_accuracy


def _latency(trial: TrialRecord, objective: Objective) -> float:
    assert trial.predicted is not None  # noqa: S101 - candidates are predicted
    return trial.predicted[objective.stat]
