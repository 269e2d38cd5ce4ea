"""Have a single policy trained by whoever is there to do it, and wait for the evaluation."""

from __future__ import annotations

from autogate.errors import TrainingError
from autogate.nas.evaluating import Evaluator
from autogate.nas.executors.executor import Executor
from autogate.policy import Policy
from autogate.records import Evaluation
from autogate.store import Store
from autogate.training import Fidelity


def request_evaluation(
    store: Store, evaluator: Evaluator, study: str, trial: int, policy: Policy, fidelity: Fidelity
) -> None:
    """Ask for an evaluation, unless there is one."""
    key = evaluator.key(policy, fidelity)
    if store.find_evaluation(key) is None:
        store.add_policy(policy)
        store.add_job(key, study, trial)


def wait_for_evaluation(
    store: Store, evaluator: Evaluator, study: str, trial: int, policy: Policy, fidelity: Fidelity, executor: Executor
) -> Evaluation:
    """Return the evaluation of a policy, trained now if it is not there yet.

    Raises:
        TrainingError: If it cannot be trained.
    """
    key = evaluator.key(policy, fidelity)
    while (evaluation := store.find_evaluation(key)) is None:
        job = store.find_job(key)
        if job is None or (job.study != study and not job.held):
            request_evaluation(store, evaluator, study, trial, policy, fidelity)
        elif (reason := job.failure_reason) is not None:
            store.end_job(job.id)
            raise TrainingError(reason)
        executor.work()
    return evaluation
