"""Whoever leaves in good order gives its job back; whoever dies of it does not."""

from __future__ import annotations

import time

import pytest

from autogate.errors import AutoGateError, LeaseLostError, TrainingError
from autogate.nas.workers import WorkerSession
from autogate.policy import Policy
from autogate.records import Evaluation, EvaluationKey, Realisation
from autogate.store import Store
from tests.support.databases import some_config

KEY = EvaluationKey(Policy().digest, "task", "recipe", "short", 0)


@pytest.fixture
def store(storage: str) -> Store:
    made = Store(storage, create=True)
    made.create_study("one", some_config())
    made.add_policy(Policy())
    made.add_job(KEY, "one", 0)
    return made


def take_and_raise(session: WorkerSession, error: BaseException) -> None:
    with session:
        assert session.take() is not None
        raise error


@pytest.mark.parametrize("error", [TrainingError("told to leave"), KeyboardInterrupt()])
def test_leaving_gives_the_job_back_and_does_not_count(store: Store, error: BaseException) -> None:
    with pytest.raises(type(error)):
        take_and_raise(WorkerSession(store, "one", "cpu", joined=True), error)
    [job] = store.jobs("one")
    assert (job.held, job.attempts) == (False, 0)
    assert store.workers("one") == []


def test_dying_of_a_job_counts(store: Store) -> None:
    session = WorkerSession(store, "one", "cpu", joined=True)
    with pytest.raises(RuntimeError):
        take_and_raise(session, RuntimeError("CUDA error: an illegal memory access was encountered"))
    [job] = store.jobs("one")
    assert (job.held, job.attempts) == (True, 1)
    assert store.holders("one") == [session.id]


def failure_within(session: WorkerSession, seconds: float) -> AutoGateError | None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        try:
            session.check()
        except AutoGateError as error:
            return error
        time.sleep(0.01)
    return None


def test_a_job_that_is_gone_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGATE_LEASE_S", "1")
    with WorkerSession(store, "one", "cpu", joined=True) as session:
        job = session.take()
        assert job is not None
        assert failure_within(session, 0.75) is None
        store.end_job(job.id)
        failure = failure_within(session, 10)
        session.done()
        session.check()  # a worker goes on with other jobs
    assert isinstance(failure, LeaseLostError)
    assert str(failure) == "trial 0 is not wanted any more"


def test_a_job_that_was_finished_just_now_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGATE_LEASE_S", "1")
    with WorkerSession(store, "one", "cpu", joined=True) as session:
        job = session.take()
        assert job is not None
        store.finish_job(job, Evaluation(KEY, 0.5, Realisation(), 1.0))
        assert failure_within(session, 0.75) is None
