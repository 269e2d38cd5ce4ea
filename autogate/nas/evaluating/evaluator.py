"""What finds out how good a policy is: by training it, or from records."""

from __future__ import annotations

from typing import Protocol

from autogate.policy import Policy
from autogate.records import Evaluation, EvaluationKey
from autogate.studies import Reporter
from autogate.training import Checkpointer, Fidelity, TrainingCallback


class Evaluator(Protocol):
    """Evaluates policies; equal keys, equal evaluations."""

    def key(self, policy: Policy, fidelity: Fidelity) -> EvaluationKey:
        """Return the key under which the evaluation is stored."""

    def evaluate(
        self,
        policy: Policy,
        fidelity: Fidelity,
        reporter: Reporter,
        checkpointer: Checkpointer | None = None,
        callback: TrainingCallback | None = None,
    ) -> tuple[Evaluation, bytes | None]:
        """Return what is to be stored, and the trained weights if they are worth keeping.

        Args:
            policy: The policy.
            fidelity: How thoroughly to train it.
            reporter: Receives progress.
            checkpointer: Keeps the state of the training, so that an interrupted one goes on from there.
            callback: Looks at the network while it is trained.

        Raises:
            TrainingError: If training or scoring fails.
        """
