"""A database that is away for a moment is waited for; one that stays away stops the work, with nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from autogate.errors import ConnectionDroppedError, StorageError
from autogate.store import Store, is_drop, retry
from autogate.store.retries import retry_on_disconnect
from tests.support.databases import execute, some_config


def test_waits_grow_and_end() -> None:
    waited: list[float] = []

    def attempt() -> None:
        raise ConnectionDroppedError("away")

    with pytest.raises(ConnectionDroppedError, match="away"):
        retry(attempt, lambda error: isinstance(error, ConnectionDroppedError), sleep=waited.append)
    assert waited == [0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0]


def test_waiting_ends_with_the_first_success() -> None:
    waited: list[float] = []
    results = iter([ConnectionDroppedError("away"), ConnectionDroppedError("away"), None])

    def attempt() -> str:
        if (error := next(results)) is not None:
            raise error
        return "done"

    assert retry(attempt, lambda error: isinstance(error, ConnectionDroppedError), sleep=waited.append) == "done"
    assert waited == [0.2, 0.5]


def test_an_interruption_is_not_waited_for() -> None:
    waited: list[float] = []

    def attempt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry(attempt, lambda error: True, sleep=waited.append)
    assert waited == []


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
        raise ConnectionDroppedError("away")

    inner = retry_on_disconnect(fail, sleep=waited.append)
    with pytest.raises(ConnectionDroppedError):
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
    store.create_study("one", some_config())
    others = "datname = current_database() and pid <> pg_backend_pid()"
    execute(postgres, f"select pg_terminate_backend(pid) from pg_stat_activity where {others}")  # noqa: S608
    store.update_facts("one", lambda facts: replace(facts, short_floor=0.5))
    assert store.study("one").facts.short_floor == 0.5
