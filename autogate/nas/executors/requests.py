"""Have a single policy trained by whoever is there to do it, and wait for the evaluation."""

from __future__ import annotations

from autogate.errors import TrainingError
from autogate.nas.evaluating import Judge
from autogate.nas.executors.executor import Team
from autogate.policy import Policy
from autogate.records import Evaluation
from autogate.store import Store
from autogate.training import Fidelity


def ask_for(store: Store, judge: Judge, study: str, trial: int, policy: Policy, fidelity: Fidelity) -> None:
    """Ask for an evaluation, unless there is one."""
    key = judge.key(policy, fidelity)
    if store.find_evaluation(key) is None:
        store.add_policy(policy)
        store.add_job(key, study, trial)


def obtain(
    store: Store, judge: Judge, study: str, trial: int, policy: Policy, fidelity: Fidelity, team: Team
) -> Evaluation:
    """Return the evaluation of a policy, trained now if it is not there yet.

    Raises:
        TrainingError: If it cannot be trained.
    """
    key = judge.key(policy, fidelity)
    while (evaluation := store.find_evaluation(key)) is None:
        job = store.find_job(key)
        if job is None or (job.study != study and not job.held):
            ask_for(store, judge, study, trial, policy, fidelity)
        elif (reason := job.hopeless) is not None:
            store.end_job(job.id)
            raise TrainingError(reason)
        team.work()
    return evaluation
