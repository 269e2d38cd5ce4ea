"""Open a study database, or say clearly why it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from autogate.errors import StorageError
from autogate.store.tables import SCHEMA_VERSION, Base, Meta

DEFAULT_URL = "sqlite:///studies/autogate.db"
STORAGE_VARIABLE = "AUTOGATE_STORAGE"
_BUSY_TIMEOUT_S = 30


def default_storage() -> str:
    """Return the storage URL from the environment, or the SQLite file under the current directory."""
    return os.environ.get(STORAGE_VARIABLE, DEFAULT_URL)


class NoStudiesError(StorageError):
    """There is no study database yet where one was looked for."""


def open_database(url: str, *, create: bool) -> Engine:
    """Return an engine for ``url``, with AutoGate's tables in place.

    Args:
        url: SQLAlchemy URL.
        create: Whether to make the database and the tables if they are not there.

    Raises:
        StorageError: If the database cannot be reached or written, is not a study database, or has a newer
            schema than this version reads.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError("the storage URL is not valid; write it like sqlite:///studies/autogate.db") from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite":
        _prepare_file(Path(parsed.database or ""), shown, create)
    try:
        engine = create_engine(parsed, connect_args=_connect_args(parsed.get_backend_name()))
        if parsed.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _sqlite_pragmas)
        _check_schema(engine, shown, create)
        if parsed.get_backend_name() == "sqlite":
            # Only now: this changes the file, and one of another program must stay as it is.
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    except NoSuchModuleError:
        raise StorageError(f"no driver for {shown}; for PostgreSQL: pip install 'autogate[postgres]'") from None
    except ModuleNotFoundError as error:
        raise StorageError(f"{error.name} is not installed; for PostgreSQL: pip install 'autogate[postgres]'") from None
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())[:200]
        raise StorageError(f"cannot use the database {shown}: {reason}") from None
    return engine


def holds_studies(url: str) -> bool:
    """Whether a database with AutoGate's tables is at ``url``.

    Raises:
        StorageError: If what is there cannot be used for studies.
    """
    try:
        open_database(url, create=False).dispose()
    except NoStudiesError:
        return False
    return True


def _connect_args(backend: str) -> dict[str, Any]:
    return {"timeout": _BUSY_TIMEOUT_S} if backend == "sqlite" else {}


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _prepare_file(path: Path, shown: str, create: bool) -> None:
    if str(path) in (".", ":memory:"):
        raise StorageError(
            "a database in memory is lost with its process; give a file, as in sqlite:///studies/autogate.db"
        )
    if path.exists():
        return
    if not create:
        raise NoStudiesError(f"there is no study database at {shown}; `autogate search` makes one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the directory {path.parent}: {error.strerror}; use --storage") from None


def _check_schema(engine: Engine, shown: str, create: bool) -> None:
    tables = set(inspect(engine).get_table_names())
    if "autogate_meta" in tables:
        with Session(engine) as session:
            row = session.get(Meta, "schema")
        found = int(row.value) if row is not None and row.value.isdigit() else -1
        if found > SCHEMA_VERSION:
            raise StorageError(
                f"{shown} has schema {found}, newer than {SCHEMA_VERSION}, which this version reads; update autogate"
            )
        if found != SCHEMA_VERSION:
            raise StorageError(f"{shown} has an unknown schema; it was not written by autogate")
        return
    if tables and not {"studies", "trials", "alembic_version"} <= tables:
        raise StorageError(f"{shown} is a database of another program; give AutoGate its own with --storage")
    if not create:
        raise NoStudiesError(f"{shown} holds no AutoGate study; `autogate search` starts one")
    with Session(engine) as session, session.begin():
        Base.metadata.create_all(session.connection())
        session.add(Meta(key="schema", value=str(SCHEMA_VERSION)))
