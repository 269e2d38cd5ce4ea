"""Workers that join a study do what it wants while it wants it, and end with one line."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from databases import execute

from autogate import api
from autogate.errors import StudyError
from autogate.search.replaying import add_replay, replay_driver
from autogate.search.reporter import Reporter
from autogate.search.teams.ray_work import Where, train_one
from autogate.store import Store

NAME = "joined"


class Hook(Reporter):
    """Does something when a worker says what it begins.

    Args:
        begins: What to do.
    """

    def __init__(self, begins: Callable[[], None]) -> None:
        super().__init__()
        self._begins = begins

    def note(self, text: str) -> None:
        """Do it."""
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


def join(store: Store, begins: Callable[[], None]) -> int:
    # In a thread, where a worker leaves the signals of this process alone.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(api.worker, NAME, storage=store.url, idle_s=0.0, reporter=Hook(begins)).result(30)


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


def test_a_process_of_ray_looks_at_the_version_with_every_job(store: Store) -> None:
    first, second = store.jobs(NAME)
    where = Where(store.url, NAME, "cpu", 1, (), ".")
    train_one(first.key, where)
    change_code(store)
    with pytest.raises(StudyError, match=r"is run by autogate 9\.9\+new"):
        train_one(second.key, where)
    assert [job.key for job in store.jobs(NAME)] == [second.key]
