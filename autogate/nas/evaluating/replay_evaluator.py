"""Evaluations from records: a finished study answers in the place of trainings, to try samplers and teams out."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from autogate.errors import StudyError
from autogate.goals import SearchConfig
from autogate.policy import Policy, digest
from autogate.records import Evaluation, EvaluationKey, Realisation, TrialRecord
from autogate.store import Store
from autogate.studies import Reporter
from autogate.training import Checkpointer, Fidelity, TrainingCallback

_NEIGHBOURS = 5
_STEP_S = 0.1


class ReplayEvaluator:
    """Answers with recorded accuracies.

    A policy that was recorded has its own. Another one has the mean of the five nearest, by the number of sites that
    differ, the nearer counting more. So it is a landscape like the recorded one, and no claim about any network.

    Args:
        trials: Trained trials of the recorded study.
        realisations: What was found out about the decisions of each.
        name: Identity of the recorded study.
        seconds: How long each answer takes, as if it were a training.
    """

    def __init__(
        self, trials: Sequence[TrialRecord], realisations: Sequence[Realisation], name: str, seconds: float
    ) -> None:
        self._name = name
        self._seconds = seconds
        policies = [trial.policy for trial in trials if trial.policy is not None]
        self._accuracies = np.array([trial.val_accuracy for trial in trials], dtype=float)
        self._known = {policy.execution_digest: i for i, policy in enumerate(policies)}
        self._sites = sorted({site for policy in policies for site, _ in policy})
        self._codes = np.stack([self._code(policy) for policy in policies])
        self._traces = {
            (site, policy.gates[site]): trace
            for policy, realisation in zip(policies, realisations, strict=True)
            for site, trace in realisation.decisions.items()
        }

    def key(self, policy: Policy, fidelity: Fidelity) -> EvaluationKey:
        """Return the key under which the answer is stored: never that of a training."""
        return EvaluationKey(policy.digest, digest(["replay", self._name]), digest(["replay"]), fidelity, 0)

    def evaluate(
        self,
        policy: Policy,
        fidelity: Fidelity,
        reporter: Reporter,
        checkpointer: Checkpointer | None = None,
        callback: TrainingCallback | None = None,
    ) -> tuple[Evaluation, bytes | None]:
        """Return the recorded accuracy, after as long as it is to take."""
        start_s = time.monotonic()
        while (left_s := self._seconds - (time.monotonic() - start_s)) > 0:
            reporter.progress(1 - left_s / self._seconds, "replaying")
            time.sleep(min(_STEP_S, left_s))
        traces = {site: self._traces[(site, gate)] for site, gate in policy if (site, gate) in self._traces}
        # Of different recordings, which need not be of equally many images.
        images = min(map(len, traces.values()), default=0)
        traces = {site: trace[:images] for site, trace in traces.items()}
        key = self.key(policy, fidelity)
        return Evaluation(key, self._accuracy(policy), Realisation(traces), time.monotonic() - start_s), None

    def _accuracy(self, policy: Policy) -> float:
        known = self._known.get(policy.execution_digest)
        if known is not None:
            return float(self._accuracies[known])
        beyond = sum(site not in self._sites for site, _ in policy)
        distances = (self._codes != self._code(policy)).sum(axis=1) + beyond
        nearest = np.argsort(distances, kind="stable")[:_NEIGHBOURS]
        return float(np.average(self._accuracies[nearest], weights=1 / (1.0 + distances[nearest]) ** 2))

    def _code(self, policy: Policy) -> np.ndarray:
        """Return the gate at every site, as numbers that are equal where gates are."""
        return np.array([hash(policy.gates.get(site)) for site in self._sites], dtype=np.int64)


def replay_of(store: Store, config: SearchConfig) -> ReplayEvaluator:
    """Return what answers for a study that replays another one.

    Raises:
        StudyError: If that one has no trained trials.
    """
    assert config.replay is not None  # noqa: S101 - the caller looked
    trials = [t for t in store.trials(config.replay) if t.val_accuracy is not None and t.policy is not None]
    if not trials:
        raise StudyError(f"study {config.replay!r} has no trained candidates to replay")
    realisations = [store.realisation(t.policy) or Realisation() for t in trials if t.policy is not None]
    return ReplayEvaluator(trials, realisations, config.replay, config.replay_s)
