"""Do one job: train its policy under the lease, from its last checkpoint, and store the evaluation."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from autogate.errors import AutoGateError, StudyError, TrainingError
from autogate.records import Job
from autogate.search.judge import Judge
from autogate.search.lease import LeaseLostError, Presence, WorkingReporter
from autogate.search.reporter import Reporter
from autogate.store import Store
from autogate.training import Fidelity, Milestones

CHECKPOINT_VARIABLE = "AUTOGATE_CHECKPOINT_S"
_CHECKPOINT_S = 60.0


class StoreKeeper:
    """Keeps the state of one training in the study database, about once a minute.

    Args:
        store: The study database.
        study: Name of the study it is for.
        slot: Which training.
    """

    def __init__(self, store: Store, study: str, slot: str) -> None:
        self._store = store
        self._study = study
        self._slot = slot
        self._every_s = _seconds()
        self._saved_s = time.monotonic()

    def load(self) -> bytes | None:
        """Return the state that was saved last, or None."""
        return self._store.checkpoint(self._slot)

    def is_due(self) -> bool:
        """Whether the state should be saved now."""
        return time.monotonic() - self._saved_s >= self._every_s

    def save(self, state: bytes, images: int) -> None:
        """Save a state."""
        self._store.save_checkpoint(self._slot, self._study, state, images)
        # From the end of saving on, so that a slow database does not hold up the training for ever.
        self._saved_s = time.monotonic()

    def end(self) -> None:
        """Remove the state: the training is over."""
        self._store.end_checkpoints(self._slot)


def do_job(
    store: Store, judge: Judge, job: Job, presence: Presence, reporter: Reporter, milestones: Milestones | None = None
) -> None:
    """Train a job's policy and store the evaluation, or why there is none.

    Args:
        store: The study database.
        judge: Trains and scores.
        job: A job that ``presence`` holds.
        presence: This process as a worker.
        reporter: Hears of progress.
        milestones: Looks at the network while it is trained.

    Raises:
        StudyError: If this process would train something else than what was asked for.
        StorageError: If the database stays out of reach.
    """
    fidelity: Fidelity = "full" if job.key.fidelity == "full" else "short"
    if judge.key(job.policy, fidelity) != job.key:
        raise StudyError(
            f"study {job.study!r} wants trial {job.trial} trained in another way than this process would; use the same "
            "version of autogate, data and weights"
        )
    keeper = StoreKeeper(store, job.study, job.slot)
    try:
        evaluation, weights = judge.evaluate(
            job.policy, fidelity, WorkingReporter(reporter, presence, job), keeper, milestones
        )
        presence.check()
        if weights is not None:
            evaluation = replace(evaluation, artifact=store.add_artifact("finalist", weights))
        store.finish_job(job, evaluation)
        keeper.end()
    except TrainingError as error:
        store.fail_job(job.id, str(error))
        keeper.end()
    except LeaseLostError as error:
        reporter.note(str(error))
    finally:
        presence.done()


def _seconds() -> float:
    text = os.environ.get(CHECKPOINT_VARIABLE, str(_CHECKPOINT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise AutoGateError(f"{CHECKPOINT_VARIABLE} must be a number of seconds, not {text!r}")
    return seconds
