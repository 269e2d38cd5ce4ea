"""Open a study database, or raise one clear error if it cannot be used."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOTDIR
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import IntegrityError, NoSuchModuleError, OperationalError, SQLAlchemyError

from autogate.errors import ConnectionDroppedError, NoStudiesError, StorageError
from autogate.store.host import on_network
from autogate.store.retries import is_drop
from autogate.store.schema import ensure_schema, upgrade_schema
from autogate.store.urls import parse_url, redact, redact_url, sqlite_path

_BUSY_TIMEOUT_S = 30
_CONNECT_TIMEOUT_S = 10


def open_database(url: str, *, create: bool) -> Engine:
    """Return an engine for ``url``, with AutoGate's tables in place.

    Args:
        url: SQLAlchemy URL.
        create: Whether to make the database and the tables if they are not there.

    Raises:
        StorageError: If the database cannot be reached or written, is not a study database, or has another
            schema than this version reads.
    """
    parsed = parse_url(url)
    engine = connect(parsed, create=create)
    with clear_errors(parsed):
        ensure_schema(engine, create=create)
        if (path := sqlite_path(parsed)) is not None:
            _set_journal(engine, path)
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


def upgrade_database(url: str) -> tuple[int, int]:
    """Bring a database of an older schema up to date; return the versions before and after.

    Raises:
        StorageError: If there is none, or its schema is newer or another program's.
    """
    parsed = parse_url(url)
    engine = connect(parsed)
    with clear_errors(parsed):
        versions = upgrade_schema(engine)
        engine.dispose()
        return versions


def connect(url: URL, *, create: bool = False) -> Engine:
    """Return an engine for ``url``, without checking what the database holds.

    Raises:
        StorageError: If there is no driver for it, or its file does not exist and ``create`` is False.
    """
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise StorageError(f"studies are stored in SQLite or PostgreSQL, not in {backend}; give another --storage")
    if backend == "sqlite":
        _prepare_file(sqlite_path(url), redact_url(url), create)
    options = engine_options(backend)
    if (path := sqlite_path(url)) is not None and _is_frozen(path):
        options = {"creator": partial(_connect_frozen, path)}
    with clear_errors(url):
        engine = create_engine(url, **options)
        if backend == "sqlite":
            event.listen(engine, "connect", _sqlite_pragmas)
        return engine


def engine_options(backend: str) -> dict[str, Any]:
    """Return how to open connections to a kind of database; Optuna's engine takes them too."""
    if backend == "sqlite":
        return {"connect_args": {"timeout": _BUSY_TIMEOUT_S}}
    # A server may have been restarted since a connection was last used.
    return {"connect_args": {"connect_timeout": _CONNECT_TIMEOUT_S}, "pool_pre_ping": True}


@contextmanager
def clear_errors(url: URL, rest: str = "") -> Iterator[None]:
    """Turn SQLAlchemy's errors into one clear error; integrity errors pass unchanged."""
    postgres = "for PostgreSQL: pip install 'autogate[postgres]'"
    try:
        yield
    except IntegrityError:
        raise
    except NoSuchModuleError:
        raise StorageError(f"no driver for {redact_url(url)}; {postgres}") from None
    except ModuleNotFoundError as error:
        raise StorageError(f"{error.name} is not installed; {postgres}") from None
    except SQLAlchemyError as error:
        reason = redact(getattr(error, "orig", None) or error, url)
        if "malformed" in reason and (path := sqlite_path(url)) is not None:
            raise StorageError(
                f"the database {redact_url(url)} is damaged; restore a copy of it, or rescue what it still holds with "
                f"`sqlite3 {path} .recover`"
            ) from None
        kind = ConnectionDroppedError if is_drop(error) else StorageError
        raise kind(f"cannot use the database {redact_url(url)}: {reason}{rest}") from None


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _is_frozen(path: Path) -> bool:
    """Whether neither a file nor its folder can be written, as on a read-only medium."""
    return path.exists() and not any(os.access(place, os.W_OK) for place in (path, path.parent))


def _connect_frozen(path: Path) -> sqlite3.Connection:
    # Reading a file with a write-ahead log writes next to it, unless SQLite knows that nobody changes it.
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        raise sqlite3.OperationalError(
            f"it was not closed, and {path.parent} cannot be written; copy it and {log.name}, and read the copy"
        )
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _set_journal(engine: Engine, path: Path) -> None:
    # Only now: this changes the file, and one of another program must stay as it is. A network file system cannot
    # share the memory that a write-ahead log needs.
    wanted = "delete" if on_network(path) else "wal"
    # A file that can only be read stays as it is.
    with engine.connect() as connection, suppress(OperationalError):
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != wanted:
            connection.exec_driver_sql(f"PRAGMA journal_mode={wanted}")


def check_place(url: str) -> None:
    """Refuse a database file whose folder can never be made, before work is done for it.

    Raises:
        StorageError: If a file stands where a folder would have to be, or one must not be looked into.
    """
    path = sqlite_path(parse_url(url))
    if path is None:
        return
    with _directory_of(path):
        there = next(folder for folder in path.absolute().parents if folder.exists())
        if not there.is_dir():
            raise NotADirectoryError(ENOTDIR, f"{there} is a file")


def _prepare_file(path: Path | None, url: str, create: bool) -> None:
    if path is None:
        raise StorageError(
            "a database in memory is lost with its process; give a file, as in sqlite:///studies/autogate.db"
        )
    with _directory_of(path):
        if path.exists():
            return
        if not create:
            raise NoStudiesError(f"there is no study database at {url}; `autogate search` makes one")
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _directory_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot use the directory {path.parent}: {error.strerror}; use --storage") from None
