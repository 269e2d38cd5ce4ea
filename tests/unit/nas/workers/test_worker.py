"""Workers that join a study do what it wants while it wants it, and end with one line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from autogate import api
from autogate.analysis import add_replay, replay_driver
from autogate.errors import StudyError
from autogate.nas.workers import Where, train_one
from autogate.store import Store
from autogate.store.transfer import delete
from autogate.studies import Reporter
from tests.support.databases import execute

NAME = "joined"


class Hook(Reporter):
    """Does something when a worker begins its first job.

    Args:
        begins: What to do.
    """

    def __init__(self, begins: Callable[[], None]) -> None:
        super().__init__()
        self._begins = begins
        self.notes: list[str] = []

    def info(self, text: str) -> None:
        """Do it once."""
        self.notes.append(text)
        if len(self.notes) == 1:
            self._begins()


@pytest.fixture
def store(recorded: str) -> Store:
    """Return a database in which two candidates of a replayed study wait for workers."""
    store = Store(recorded)
    driver = replay_driver(store, NAME, add_replay(store, "budget", NAME, trials=12), Reporter())
    while len(driver.open) < 2:
        driver.propose()
    return store


def change_code(store: Store) -> None:
    execute(store.url, f"update autogate_studies set code_version = '9.9+new' where name = '{NAME}'")  # noqa: S608


@contextmanager
def joining(store: Store, reporter: Reporter, idle_s: float | None = 0.0) -> Iterator[Future[int]]:
    # In a thread, where a worker leaves the signals of this process alone.
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(api.run_worker, NAME, storage=store.url, idle_s=idle_s, reporter=reporter)


def join(store: Store, begins: Callable[[], None]) -> int:
    with joining(store, Hook(begins)) as worker:
        return worker.result(30)


def test_a_worker_does_what_there_is(store: Store) -> None:
    assert join(store, lambda: None) == 2
    assert store.jobs(NAME) == []


def test_a_worker_takes_no_further_job_when_other_code_drives_the_study(store: Store) -> None:
    first, second = store.jobs(NAME)
    with pytest.raises(StudyError, match=r"is run by autogate 9\.9\+new, and this is .*; install the same version"):
        join(store, lambda: change_code(store))
    # What was begun for the old code is kept, and the next one is free for whoever has the new code.
    assert store.find_evaluation(first.key) is not None
    assert [(job.id, job.held, job.attempts) for job in store.jobs(NAME)] == [(second.id, False, 0)]
    assert store.workers(NAME) == []


def test_a_study_cannot_be_deleted_while_a_worker_trains_for_it(store: Store) -> None:
    refusals = []

    def attempt() -> None:
        with pytest.raises(StudyError) as refused:
            api.delete_study(NAME, storage=store.url)
        refusals.append(str(refused.value))

    assert join(store, attempt) == 2
    [line] = refusals
    assert line.startswith(f"study '{NAME}' is trained for right now, by process {os.getpid()} on ")
    assert "stop these workers first" in line
    api.delete_study(NAME, storage=store.url)


def test_a_worker_that_waits_ends_when_its_study_is_deleted(store: Store) -> None:
    for job in store.jobs(NAME):
        store.end_job(job.id)
    with joining(store, Reporter(), idle_s=20) as worker:
        while not store.workers(NAME):
            time.sleep(0.01)
        api.delete_study(NAME, storage=store.url)
        with pytest.raises(StudyError, match="there is no study 'joined' in .*; known: "):
            worker.result(10)


def test_a_worker_that_trains_ends_when_its_study_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGATE_LEASE_S", "1")
    store.set_config(NAME, store.study(NAME).config.model_copy(update={"replay_s": 20.0}))
    monkeypatch.setattr(delete, "_check_untrained", lambda *_: None)
    hook = Hook(lambda: api.delete_study(NAME, storage=store.url))
    with joining(store, hook) as worker, pytest.raises(StudyError, match="there is no study 'joined' in"):
        worker.result(10)
    assert hook.notes[1:] == [hook.notes[0].split(",")[0] + " is not wanted any more"]


def test_a_process_of_ray_looks_at_the_version_with_every_job(store: Store) -> None:
    first, second = store.jobs(NAME)
    where = Where(store.url, NAME, "cpu", 1, (), ".")
    train_one(first.key, where)
    change_code(store)
    with pytest.raises(StudyError, match=r"is run by autogate 9\.9\+new"):
        train_one(second.key, where)
    assert [job.key for job in store.jobs(NAME)] == [second.key]
