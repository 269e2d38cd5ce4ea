"""The Pareto front of a study: trained candidates that no other beats in both accuracy and predicted latency.

The SQL view ``autogate_front`` says the same for users of the database; a test compares the two.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from autogate.records import LatencyStat, TrialRecord


class Front:
    """A front that grows by one trial at a time.

    Args:
        stat: Statistic over inputs that counts as the latency.

    Attributes:
        trials: Trials on the front, fastest first; of equal ones, the first that was added.
    """

    def __init__(self, stat: LatencyStat) -> None:
        self.stat = stat
        self.trials: list[TrialRecord] = []

    def add(self, trial: TrialRecord) -> None:
        """Take in a trial; one without accuracy, prediction or policy is never on the front."""
        if trial.val_accuracy is None or trial.predicted is None or trial.policy is None:
            return
        latency_ms, accuracy = self._latency_ms(trial), trial.val_accuracy
        latencies_ms = [self._latency_ms(member) for member in self.trials]
        at = bisect_left(latencies_ms, latency_ms)
        # Of two on the front, the slower one is the more accurate.
        no_slower = at + 1 if at < len(latencies_ms) and latencies_ms[at] == latency_ms else at
        if no_slower and self._accuracy(self.trials[no_slower - 1]) >= accuracy:
            return
        end = at
        while end < len(self.trials) and self._accuracy(self.trials[end]) <= accuracy:
            end += 1
        self.trials[at:end] = [trial]

    def hypervolume(self, dense_ms: float) -> float:
        """Return the area that the front covers: accuracy times the share of the dense latency that is saved.

        Args:
            dense_ms: Predicted latency of the dense network, in milliseconds.
        """
        area, covered = 0.0, 0.0
        for trial in reversed(self.trials):
            saved = max(covered, 1 - self._latency_ms(trial) / dense_ms)
            area += (saved - covered) * max(0.0, self._accuracy(trial))
            covered = saved
        return area

    def _latency_ms(self, trial: TrialRecord) -> float:
        return (trial.predicted or {})[self.stat]

    @staticmethod
    def _accuracy(trial: TrialRecord) -> float:
        return trial.val_accuracy or 0.0


def pareto_front(trials: Iterable[TrialRecord], stat: LatencyStat) -> list[TrialRecord]:
    """Return the trained candidates that no other beats in both accuracy and predicted latency, fastest first."""
    front = Front(stat)
    for trial in trials:
        front.add(trial)
    return front.trials
