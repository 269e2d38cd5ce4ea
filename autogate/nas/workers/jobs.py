"""Do one job: train its policy under the lease, from its last checkpoint, and store the evaluation."""

from __future__ import annotations

from dataclasses import replace

from autogate.errors import StudyError, TrainingError
from autogate.nas.evaluating import Judge, StoreKeeper
from autogate.nas.workers.session import LeaseLostError, Presence, WorkingReporter
from autogate.records import Job
from autogate.store import Store
from autogate.studies import Reporter
from autogate.training import Fidelity, Milestones


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
