"""Whoever leaves in good order gives its job back; whoever dies of it does not."""

from __future__ import annotations

import pytest

from autogate.errors import TrainingError
from autogate.policy import Policy
from autogate.records import EvaluationKey
from autogate.search.lease import Presence
from autogate.store import Store

KEY = EvaluationKey(Policy().digest, "task", "recipe", "short", 0)


@pytest.fixture
def store(storage: str) -> Store:
    made = Store(storage, create=True)
    made.create_study("one", {})
    made.add_policy(Policy())
    made.add_job(KEY, "one", 0)
    return made


def take_and_raise(presence: Presence, error: BaseException) -> None:
    with presence:
        assert presence.take() is not None
        raise error


@pytest.mark.parametrize("error", [TrainingError("told to leave"), KeyboardInterrupt()])
def test_leaving_gives_the_job_back_and_does_not_count(store: Store, error: BaseException) -> None:
    with pytest.raises(type(error)):
        take_and_raise(Presence(store, "one", "cpu", joined=True), error)
    [job] = store.jobs("one")
    assert (job.held, job.attempts) == (False, 0)
    assert store.workers("one") == []


def test_dying_of_a_job_counts(store: Store) -> None:
    presence = Presence(store, "one", "cpu", joined=True)
    with pytest.raises(RuntimeError):
        take_and_raise(presence, RuntimeError("CUDA error: an illegal memory access was encountered"))
    [job] = store.jobs("one")
    assert (job.held, job.attempts) == (True, 1)
    assert store.holders("one") == [presence.id]
