"""Do one job: train its policy under the lease, from its last checkpoint, and store the evaluation."""

from __future__ import annotations

from dataclasses import replace

from autogate.errors import LeaseLostError, StudyError, TrainingError
from autogate.nas.evaluating import Evaluator, StoreCheckpointer
from autogate.nas.workers.session import JobReporter, WorkerSession
from autogate.records import Job
from autogate.store import Store
from autogate.studies import Reporter
from autogate.training import Fidelity, TrainingCallback


def run_job(
    store: Store,
    evaluator: Evaluator,
    job: Job,
    session: WorkerSession,
    reporter: Reporter,
    callback: TrainingCallback | None = None,
) -> None:
    """Train a job's policy and store the evaluation, or why there is none.

    Args:
        store: The study database.
        evaluator: Trains and scores.
        job: A job that ``session`` holds.
        session: This process as a worker.
        reporter: Receives progress.
        callback: Looks at the network while it is trained.

    Raises:
        StudyError: If this process would train something else than what was asked for.
        StorageError: If the database stays out of reach.
    """
    fidelity: Fidelity = "full" if job.key.fidelity == "full" else "short"
    if evaluator.key(job.policy, fidelity) != job.key:
        raise StudyError(
            f"study {job.study!r} wants trial {job.trial} trained in another way than this process would; use the same "
            "version of autogate, data and weights"
        )
    checkpointer = StoreCheckpointer(store, job.study, job.slot)
    try:
        evaluation, weights = evaluator.evaluate(
            job.policy, fidelity, JobReporter(reporter, session, job), checkpointer, callback
        )
        session.check()
        if weights is not None:
            evaluation = replace(evaluation, artifact=store.add_artifact("finalist", weights))
        store.finish_job(job, evaluation)
        checkpointer.end()
    except TrainingError as error:
        store.fail_job(job.id, str(error))
        checkpointer.end()
    except LeaseLostError as error:
        reporter.info(str(error))
    finally:
        session.done()
