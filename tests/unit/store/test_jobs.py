"""Jobs are held by one worker at a time, under leases on the database's clock."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import event

from autogate.errors import StorageError, StudyError
from autogate.policy import Gate, Policy
from autogate.records import MOST_ATTEMPTS, Evaluation, EvaluationKey, Job, Realisation
from autogate.store import Store
from autogate.store.jobs import LEASE_VARIABLE
from tests.support.databases import add_evaluation, execute, some_config

POLICY = Policy({"block:a": Gate("drop")})
KEY = EvaluationKey(POLICY.digest, "task", "recipe", "short", 0)


def opened(url: str, *studies: str) -> Store:
    store = Store(url, create=True)
    for study in studies or ("one",):
        store.create_study(study, some_config())
    store.add_policy(POLICY)
    return store


def evaluation(key: EvaluationKey = KEY, accuracy: float = 0.5) -> Evaluation:
    return Evaluation(key, accuracy, Realisation(), 1.0)


def taken(store: Store, worker: str = "worker") -> Job:
    job = store.take_job("one", worker)
    assert job is not None
    return job


def expire_leases(url: str) -> None:
    execute(url, "update autogate_jobs set expires_s = expires_s - 1000")


def test_a_job_is_taken_once_however_many_want_it(anywhere: str) -> None:
    store = opened(anywhere)
    for seed in range(5):
        store.add_job(replace(KEY, seed=seed), "one", seed)
    found: list[int] = []
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        mine = Store(anywhere)
        barrier.wait()
        while (job := mine.take_job("one", name)) is not None:
            found.append(job.trial)

    workers = [threading.Thread(target=work, args=(f"worker{i}",)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert all(job.held and job.attempts == 1 for job in store.jobs("one"))


def test_jobs_come_in_the_order_in_which_they_were_asked_for(anywhere: str) -> None:
    store = opened(anywhere)
    for seed in (3, 1, 2):
        store.add_job(replace(KEY, seed=seed), "one", seed)
    assert [taken(store).trial for _ in range(3)] == [3, 1, 2]
    assert store.take_job("one", "worker") is None


def test_a_lease_that_is_renewed_holds_and_one_that_is_not_ends(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    job = taken(store, "first")
    assert store.take_job("one", "second") is None
    expire_leases(anywhere)
    assert store.renew(job.id, "first")
    assert store.take_job("one", "second") is None
    expire_leases(anywhere)
    again = taken(store, "second")
    assert (again.id, again.attempts) == (job.id, 2)
    assert not store.renew(job.id, "first")
    assert store.renew(job.id, "second")


def test_leases_do_not_hear_of_the_clocks_of_hosts(anywhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    monkeypatch.setattr(time, "time", lambda: 4e9)  # a host that is decades ahead
    job = taken(store, "ahead")
    monkeypatch.setattr(time, "time", lambda: 0.0)  # and one that has lost its battery
    assert store.take_job("one", "behind") is None
    assert store.renew(job.id, "ahead")
    assert [found.held for found in store.jobs("one")] == [True]
    store.add_worker("behind", "one", "cpu", "1", joined=True)
    assert [worker.id for worker in store.workers("one")] == ["behind"]


@pytest.mark.e2e
def test_the_length_of_a_lease_can_be_set(anywhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    monkeypatch.setenv(LEASE_VARIABLE, "1")
    taken(store)
    time.sleep(1.2)
    job = taken(store, "another")
    assert job.attempts == 2
    monkeypatch.setenv(LEASE_VARIABLE, "soon")
    with pytest.raises(StorageError, match="AUTOGATE_LEASE_S must be at least 1 second, not 'soon'"):
        store.renew(job.id, "another")


def test_what_is_released_in_good_order_does_not_count(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    for _ in range(2 * MOST_ATTEMPTS):
        assert taken(store).attempts == 1
        store.release("worker", counts=False)


def test_a_job_that_workers_die_of_is_given_up(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert taken(store).attempts == attempt
        assert store.jobs("one")[0].failure_reason is None
        store.release("worker", counts=True)
    assert store.take_job("one", "worker") is None
    assert store.jobs("one")[0].failure_reason == "4 workers died while they trained it"
    store.begin_anew("one")
    assert taken(store).attempts == 1


def test_a_failed_job_is_not_tried_again_before_the_study_is_started_anew(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    store.fail_job(taken(store).id, "the loss became nan")
    assert store.take_job("one", "worker") is None
    assert store.jobs("one")[0].failure_reason == "the loss became nan"
    store.begin_anew("one")
    assert store.jobs("one")[0].failure_reason is None


def test_starting_anew_leaves_alone_what_is_held(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    taken(store)
    store.begin_anew("one")
    assert [(job.held, job.attempts) for job in store.jobs("one")] == [(True, 1)]


def test_an_evaluation_and_the_end_of_its_job_are_one(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    store.finish_job(taken(store), evaluation())
    assert store.find_evaluation(KEY) == evaluation()
    assert store.jobs("one") == []


def test_the_first_of_two_equal_evaluations_stays(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    job = taken(store, "slow")
    add_evaluation(store, evaluation(accuracy=0.6))
    store.finish_job(job, evaluation(accuracy=0.7))
    found = store.find_evaluation(KEY)
    assert found is not None
    assert found.val_accuracy == 0.6
    assert store.jobs("one") == []


def test_two_studies_that_want_the_same_share_one_job(anywhere: str) -> None:
    store = opened(anywhere, "one", "two")
    store.add_job(KEY, "one", 4)
    job = taken(store)
    store.add_job(KEY, "two", 7)
    assert store.jobs("two") == []
    assert store.find_job(KEY) == job
    assert store.take_job("two", "another") is None
    # The first one's worker dies; the second one takes over.
    expire_leases(anywhere)
    store.add_job(KEY, "two", 7)
    assert store.jobs("one") == []
    found = store.take_job("two", "another")
    assert found is not None
    assert (found.id, found.trial) == (job.id, 7)


def test_workers_are_known_for_as_long_as_they_are_seen(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_worker("a", "one", "cuda:0", "1.0", joined=True)
    store.add_worker("b", "one", "cpu", "1.0", joined=False)
    store.add_job(KEY, "one", 0)
    taken(store, "a")
    store.see_worker("a", "trial 0, 50%")
    first, second = store.workers("one")
    assert (first.id, first.idle, first.joined, first.doing) == ("a", False, True, "trial 0, 50%")
    assert (second.id, second.idle, second.joined) == ("b", True, False)
    execute(anywhere, "update autogate_workers set seen_s = seen_s - 1000 where id = 'a'")
    assert [worker.id for worker in store.workers("one")] == ["b"]
    store.forget_workers("one")
    store.remove_worker("b")
    assert store.workers("one") == []


def test_checkpoints_replace_each_other_and_go_at_the_end(anywhere: str) -> None:
    store = opened(anywhere)
    assert store.checkpoint("slot") is None
    store.save_checkpoint("slot", "one", b"half", 10)
    store.save_checkpoint("slot", "one", b"most", 20)
    store.save_checkpoint("other", "one", b"most", 5)
    assert store.checkpoint("slot") == b"most"
    assert len(store.artifacts()) == 1
    store.end_checkpoint("slot")
    assert store.checkpoint("slot") is None
    assert store.checkpoint("other") == b"most"
    store.end_checkpoint("other")
    assert store.artifacts() == {}


def test_whoever_is_killed_while_it_stores_a_checkpoint_leaves_none_unreferred_to(anywhere: str) -> None:
    store = opened(anywhere)
    store.save_checkpoint("slot", "one", b"first", 10)
    for statement in itertools.count():
        killed = Store(anywhere)
        left = iter(range(statement))

        def kill(*_: object, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        event.listen(killed.engine, "before_cursor_execute", kill)
        event.listen(killed.engine, "commit", kill)
        try:
            killed.save_checkpoint("slot", "one", f"state {statement}".encode(), 10)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            killed.engine.dispose()
        assert len(store.artifacts()) == 1
        assert store.checkpoint("slot") in {b"first", f"state {statement}".encode()}
    assert statement > 5
    assert store.checkpoint("slot") == f"state {statement}".encode()
    store.save_checkpoint("of the dead", "one", b"half", 5)
    store.end_checkpoints("one")
    assert store.artifacts() == {}


def test_what_is_stored_for_a_study_that_was_deleted_meanwhile_is_refused(anywhere: str) -> None:
    store = opened(anywhere)
    store.add_job(KEY, "one", 0)
    job = taken(store)
    execute(anywhere, "delete from autogate_jobs", "delete from autogate_policies", "delete from autogate_studies")
    for late in (
        lambda: store.save_checkpoint("slot", "one", b"half", 10),
        lambda: store.add_worker("a", "one", "cpu", "1.0", joined=True),
        lambda: store.finish_job(job, evaluation()),
    ):
        with pytest.raises(StudyError, match="^study 'one' was deleted from .* meanwhile; choose another study$"):
            late()
