"""What a study has reached after each of its trials: its front, the area under it, the best within the budget."""

from __future__ import annotations

from dataclasses import replace

from autogate.goals import Objective
from autogate.records import FrontRecord, TrialRecord
from autogate.store import Store
from autogate.studies.front import Front


class FrontHistory:
    """Follows a study trial by trial; a new trial is compared with the front alone.

    Args:
        objective: What the study is after.
        dense_ms: Predicted latency of the dense network, in milliseconds.

    Attributes:
        best: The best candidate so far that meets the objective's limits; None if none does.
    """

    def __init__(self, objective: Objective, dense_ms: float) -> None:
        self.objective = objective
        self.dense_ms = dense_ms
        self.best: TrialRecord | None = None
        self._front = Front(objective.stat)

    def add(self, trial: TrialRecord) -> FrontRecord:
        """Take in a trial and return what the study has reached with it."""
        self._front.add(trial)
        self.best = self._better(trial)
        return FrontRecord(
            trial.number,
            self._front.hypervolume(self.dense_ms),
            None if self.best is None else self.best.number,
            None if self.best is None else self.best.val_accuracy,
            tuple(member.number for member in self._front.trials),
        )

    def _better(self, trial: TrialRecord) -> TrialRecord | None:
        """Return the best candidate; only what was trained for this study counts, and the first of equals."""
        if trial.policy is None or trial.val_accuracy is None or trial.predicted is None or trial.outcome != "complete":
            return self.best
        if not self.objective.acceptable(trial.val_accuracy, trial.predicted["upper"]):
            return self.best
        return trial if self.best is None or self._rank(trial) < self._rank(self.best) else self.best

    def _rank(self, trial: TrialRecord) -> tuple[float, float]:
        return self.objective.rank(trial.val_accuracy or 0.0, (trial.predicted or {})[self.objective.stat])


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
    record = store.study(study)
    if record.facts.target is None:
        return
    dense_ms = record.facts.target.dense_latency_ms
    floor = None
    if record.config.max_drop is not None:
        floor = float("inf") if record.facts.short_floor is None else record.facts.short_floor
    objective = replace(Objective.of(record.config, dense_ms), floor=floor)
    complete_history(store, study, FrontHistory(objective, dense_ms))
