"""A database that is away for a moment is waited for; one that stays away stops the work, with nothing lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from autogate.errors import StorageError
from autogate.store import Store, StudyRunningError, is_drop, retries, retry
from autogate.store.retries import DroppedError, retry_on_disconnect
from tests.support.databases import SERVER_VARIABLE, execute, restartable_server


@pytest.fixture
def own_server() -> Iterator[tuple[str, object]]:
    """Return the URL of a database on a server of its own, and the server, which can be stopped and started."""
    import os

    if os.environ.get(SERVER_VARIABLE):
        pytest.skip(f"needs a server of its own, and {SERVER_VARIABLE} names another one")
    with restartable_server() as (url, server):
        yield url, server


def test_waits_grow_and_end() -> None:
    waited: list[float] = []

    def attempt() -> None:
        raise DroppedError("away")

    with pytest.raises(DroppedError, match="away"):
        retry(attempt, lambda error: isinstance(error, DroppedError), sleep=waited.append)
    assert waited == sorted(waited)
    assert 30 <= sum(waited) <= 120


def test_other_errors_do_not_wait() -> None:
    waited: list[float] = []

    def attempt() -> None:
        raise StorageError("disk full")

    with pytest.raises(StorageError, match="disk full"):
        retry_on_disconnect(attempt, sleep=waited.append)()
    assert waited == []


def test_nested_retries_are_not_multiplied() -> None:
    waited: list[float] = []
    attempts = []

    def fail() -> None:
        attempts.append(1)
        raise DroppedError("away")

    inner = retry_on_disconnect(fail, sleep=waited.append)
    with pytest.raises(DroppedError):
        retry_on_disconnect(lambda: inner(), sleep=waited.append)()
    assert len(attempts) == len(waited) + 1


def test_which_errors_are_drops(postgres: str) -> None:
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as unknown:
        execute(postgres, "select * from nowhere")
    assert not is_drop(unknown.value)
    engine = sqlalchemy.create_engine(postgres)
    with engine.connect() as connection:
        own = connection.exec_driver_sql("select pg_backend_pid()").scalar()
        execute(postgres, f"select pg_terminate_backend({own})")
        with pytest.raises(OperationalError) as dropped:
            connection.exec_driver_sql("select 1")
    engine.dispose()
    assert is_drop(dropped.value)
    assert not is_drop(ValueError())


def test_a_dropped_connection_is_replaced(postgres: str) -> None:
    store = Store(postgres, create=True)
    store.create_study("one", {})
    execute(postgres, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
    store.set_facts("one", {"a": 1})
    assert store.study("one")[1] == {"a": 1}


@pytest.mark.slow
def test_a_server_that_is_started_anew_is_waited_for(own_server: tuple[str, object]) -> None:
    url, server = own_server
    store = Store(url, create=True)
    store.create_study("one", {})
    with store.running("one"):
        server.stop()  # type: ignore[attr-defined]
        later = threading.Timer(2.0, server.start)  # type: ignore[attr-defined]
        later.start()
        start = time.monotonic()
        store.set_facts("one", {"a": 1})
        assert time.monotonic() - start >= 1.5
        later.join()
        # The server forgot the lock; it is taken again before anybody else can.
        store.check_held()
        with pytest.raises(StudyRunningError), Store(url).running("one"):
            pass
    assert store.study("one")[1] == {"a": 1}


@pytest.mark.slow
def test_a_lock_that_another_took_meanwhile_stops_the_first(own_server: tuple[str, object]) -> None:
    url, server = own_server
    store = Store(url, create=True)
    store.create_study("one", {})
    with store.running("one"):
        server.stop()  # type: ignore[attr-defined]
        server.start()  # type: ignore[attr-defined]
        with Store(url).running("one"), pytest.raises(StudyRunningError, match="another process took"):
            store.check_held()


@pytest.mark.slow
def test_a_server_that_stays_away_is_one_clear_line(
    own_server: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = own_server
    store = Store(url, create=True)
    store.create_study("one", {})
    server.stop()  # type: ignore[attr-defined]
    # The methods of the store wait by themselves; a minute is too long for a test.
    monkeypatch.setattr(retries, "_WAITS_S", (0.0, 0.0))
    with pytest.raises(StorageError, match="cannot use the database .* resume when it works again") as raised:
        store.set_facts("one", {"a": 1})
    assert "\n" not in str(raised.value)
    server.start()  # type: ignore[attr-defined]
