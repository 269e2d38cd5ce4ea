"""What a study has reached after each of its trials: its front, the area under it, the best within the budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autogate.goals import Objective, SearchConfig
from autogate.records import FrontRecord, LatencyStat, TrialRecord
from autogate.store import Store


class FrontHistory:
    """Follows a study trial by trial; a new trial is compared with the front alone.

    Args:
        objective: What the study is after.
        dense_ms: Predicted latency of the dense network, in milliseconds.
    """

    def __init__(self, objective: Objective, dense_ms: float) -> None:
        self.objective = objective
        self.dense_ms = dense_ms
        self.best: TrialRecord | None = None
        self._front: list[TrialRecord] = []

    def add(self, trial: TrialRecord) -> FrontRecord:
        """Take in a trial and return what the study has reached with it."""
        if trial.policy is not None and trial.val_accuracy is not None and trial.predicted is not None:
            self._join(trial)
            self.best = self._better(trial)
        return FrontRecord(
            trial.number,
            hypervolume(self._front, self.objective.stat, self.dense_ms),
            None if self.best is None else self.best.number,
            None if self.best is None else self.best.val_accuracy,
            tuple(member.number for member in self._front),
        )

    def _join(self, trial: TrialRecord) -> None:
        stat = self.objective.stat
        if any(_beats(other, trial, stat) or _equals(other, trial, stat) for other in self._front):
            return
        self._front = [other for other in self._front if not _beats(trial, other, stat)]
        self._front.append(trial)
        self._front.sort(key=lambda member: _latency_ms(member, stat))

    def _better(self, trial: TrialRecord) -> TrialRecord | None:
        """Return the best candidate; only what was trained for this study counts, and the first of equals."""
        if trial.outcome != "complete" or not self.objective.acceptable(_accuracy(trial), _upper_ms(trial)):
            return self.best
        return trial if self.best is None or self._rank(trial) < self._rank(self.best) else self.best

    def _rank(self, trial: TrialRecord) -> tuple[float, float]:
        return self.objective.rank(_accuracy(trial), _latency_ms(trial, self.objective.stat))


def hypervolume(front: Iterable[TrialRecord], stat: LatencyStat, dense_ms: float) -> float:
    """Return the area that a front covers: accuracy times the share of the dense latency that is saved.

    Args:
        front: Trained candidates, none of which beats another.
        stat: Statistic over inputs that counts as the latency.
        dense_ms: Predicted latency of the dense network, in milliseconds.
    """
    area, covered = 0.0, 0.0
    for trial in sorted(front, key=lambda member: -_latency_ms(member, stat)):
        saved = max(covered, 1 - _latency_ms(trial, stat) / dense_ms)
        area += (saved - covered) * max(0.0, _accuracy(trial))
        covered = saved
    return area


def complete_history(store: Store, study: str, history: FrontHistory) -> None:
    """Take in all trials of a study that is continued, and store what is missing of its history."""
    known = {front.trial: front for front in store.fronts(study)}
    trials = {trial.number: trial for trial in store.trials(study)}
    fronts = [history.add(trials[number]) for number in store.trial_order(study)]
    if missing := [front for front in fronts if known.get(front.trial) != front]:
        store.add_fronts(study, missing)


def write_history(store: Store, study: str) -> None:
    """Store what is missing of the history of a study that is not continued now.

    The best under a largest drop is not known without what dense reaches in short training; it is left open.
    """
    stored, facts = store.study(study)
    config = SearchConfig.model_validate(stored)
    dense_ms = facts.get("dense_predicted_ms")
    if dense_ms is None:
        return
    floor = facts.get("short_floor", float("inf")) if config.max_drop is not None else None
    complete_history(store, study, FrontHistory(replace(Objective.of(config, dense_ms), floor=floor), dense_ms))


def _beats(one: TrialRecord, other: TrialRecord, stat: LatencyStat) -> bool:
    no_worse = _accuracy(one) >= _accuracy(other) and _latency_ms(one, stat) <= _latency_ms(other, stat)
    return no_worse and not _equals(one, other, stat)


def _equals(one: TrialRecord, other: TrialRecord, stat: LatencyStat) -> bool:
    return (_accuracy(one), _latency_ms(one, stat)) == (_accuracy(other), _latency_ms(other, stat))


def _accuracy(trial: TrialRecord) -> float:
    assert trial.val_accuracy is not None  # noqa: S101 - it was trained
    return trial.val_accuracy


def _latency_ms(trial: TrialRecord, stat: LatencyStat | str) -> float:
    assert trial.predicted is not None  # noqa: S101 - it was predicted
    return trial.predicted[stat]


def _upper_ms(trial: TrialRecord) -> float:
    return _latency_ms(trial, "upper")
