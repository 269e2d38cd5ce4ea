"""A database that is away for a moment is waited for; one that stays away stops the work, with nothing lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy
from databases import SERVER_VARIABLE, execute, restartable_server
from sqlalchemy.exc import OperationalError

from autogate.errors import StorageError
from autogate.store import Store, StudyRunningError, is_drop, retry
from autogate.store.retries import DroppedError, retry_on_disconnect


@pytest.fixture
def own_server() -> Iterator[tuple[str, object]]:
    """Return the URL of a database on a server of its own, and the server, which can be stopped and started."""
    import os

    if os.environ.get(SERVER_VARIABLE):
        pytest.skip(f"needs a server of its own, and {SERVER_VARIABLE} names another one")
    with restartable_server() as (url, server):
        yield url, server


def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def test_waits_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = no_waiting(monkeypatch)

    def attempt() -> None:
        raise DroppedError("away")

    with pytest.raises(DroppedError, match="away"):
        retry(attempt, lambda error: isinstance(error, DroppedError))
    assert waited == [0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0]


def test_waiting_ends_with_the_first_success(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = no_waiting(monkeypatch)
    results = iter([DroppedError("away"), DroppedError("away"), None])

    def attempt() -> str:
        if (error := next(results)) is not None:
            raise error
        return "done"

    assert retry(attempt, lambda error: isinstance(error, DroppedError)) == "done"
    assert waited == [0.2, 0.5]


def test_an_interruption_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = no_waiting(monkeypatch)

    def attempt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry(attempt, lambda error: True)
    assert waited == []


def test_other_errors_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = no_waiting(monkeypatch)

    @retry_on_disconnect
    def attempt() -> None:
        raise StorageError("disk full")

    with pytest.raises(StorageError, match="disk full"):
        attempt()
    assert waited == []


def test_nested_patience_is_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = no_waiting(monkeypatch)
    attempts = []

    @retry_on_disconnect
    def inner() -> None:
        attempts.append(1)
        raise DroppedError("away")

    @retry_on_disconnect
    def outer() -> None:
        inner()

    with pytest.raises(DroppedError):
        outer()
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
    no_waiting(monkeypatch)
    with pytest.raises(StorageError, match="cannot use the database .* resume when it works again") as raised:
        store.set_facts("one", {"a": 1})
    assert "\n" not in str(raised.value)
    server.start()  # type: ignore[attr-defined]
