"""Work that is shared out among processes."""

from __future__ import annotations

from dataclasses import dataclass

from autogate.policy import Policy, digest
from autogate.records.trials import EvaluationKey

MOST_ATTEMPTS = 4
"""A job is begun once, and tried again three times, before it counts as failed."""


@dataclass(frozen=True)
class Job:
    """An evaluation that is wanted and not there yet.

    Attributes:
        id: Number of the job in its database.
        key: Key the evaluation will have.
        policy: The policy to train.
        study: Name of the study that asked.
        trial: Number of its trial.
        attempts: How often somebody began it since the study was last started.
        held: Whether a worker holds it under a lease that has not ended.
        failure: Why it cannot be trained, if that is known.
    """

    id: int
    key: EvaluationKey
    policy: Policy
    study: str
    trial: int
    attempts: int
    held: bool
    failure: str | None

    @property
    def failure_reason(self) -> str | None:
        """Why it will not be done any more, or None."""
        if self.failure is not None:
            return self.failure
        if self.attempts >= MOST_ATTEMPTS and not self.held:
            return f"{self.attempts} workers died while they trained it"
        return None

    @property
    def slot(self) -> str:
        """Where its checkpoints are kept."""
        return slot_of(self.key)


def slot_of(key: EvaluationKey) -> str:
    """Return where the checkpoints of an evaluation's training are kept."""
    return digest(["evaluation", key.policy, key.task, key.recipe, key.fidelity, key.seed])


@dataclass(frozen=True)
class WorkerRecord:
    """A process that trains for a study.

    Attributes:
        id: Its identity.
        host: Host it runs on, as people call it.
        pid: Its process number there.
        device: Device it trains on.
        joined: Whether it came by itself, instead of being started with the study.
        idle: Whether it holds no job.
        doing: What it is doing, in a few words.
    """

    id: str
    host: str
    pid: int
    device: str
    joined: bool
    idle: bool
    doing: str | None
