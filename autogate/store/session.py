"""A database that is open: sessions on it, and how it is named to users."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import ColumnElement, Engine, Float, func, literal_column, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.errors import AutoGateError, StorageError, StudyError
from autogate.store import tables
from autogate.store.database import clear_errors, open_database
from autogate.store.host import on_network
from autogate.store.retries import retry_on_disconnect
from autogate.store.urls import DEFAULT_URL, default_storage, parse_url, redact, redact_url, same_database, sqlite_path


def clock(session: Session) -> ColumnElement[float]:
    """Return an expression for the database's time, in seconds since 1970."""
    if session.get_bind().dialect.name == "sqlite":
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
    return func.extract("epoch", func.clock_timestamp()).cast(Float)


def clock_utc(session: Session) -> str:
    """Return the database's time as it is stored."""
    seconds = session.scalars(select(clock(session))).one()
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


_REST = "; what was stored before is safe, resume when it works again"


class Database:
    """A study database.

    Args:
        url: SQLAlchemy URL.
        create: Whether to make the database if it is not there.

    Raises:
        StorageError: See :func:`autogate.store.database.open_database`.
    """

    def __init__(self, url: str = DEFAULT_URL, *, create: bool = False) -> None:
        self.url = url
        self.engine: Engine = open_database(url, create=create)
        path = sqlite_path(self.engine.url)
        # File systems in a network may number a file anew.
        self._file = None if path is None or on_network(path) else (path, _identity(path))

    @property
    def shown_url(self) -> str:
        """The URL without its password."""
        return redact_url(self.engine.url)

    def check_there(self) -> None:
        """Check that a database file is still the one that was opened: what is written to another one is lost.

        Raises:
            StorageError: If it was moved, deleted or replaced.
        """
        if self._file is not None and _identity(self._file[0]) != self._file[1]:
            raise StorageError(
                f"the database {self.shown_url} was moved, deleted or replaced while it was in use; bring the file "
                "back, and resume"
            )

    def is_at(self, url: str) -> bool:
        """Whether this is the database that a URL names, whoever uses it and through which driver."""
        return same_database(self.engine.url, parse_url(url))

    def command(self, verb: str, study: str) -> str:
        """Return the command that does something with a study of this database."""
        elsewhere = "" if self.url == default_storage() else f" --storage '{self.shown_url}'"
        return f"autogate {verb} {shlex.quote(study)}{elsewhere}"

    def reason(self, error: BaseException) -> str:
        """Return in one line why the database refused, without a password."""
        cause = error.__cause__ or error
        return redact(getattr(cause, "orig", None) or cause, self.engine.url)

    def _refused(self, study: str, error: IntegrityError) -> AutoGateError:
        """Return what to raise when rows of a study cannot be stored: most likely it was deleted meanwhile."""
        with self.session() as session:
            there = session.get(tables.Study, study) is not None
        if there:
            return StorageError(f"cannot use the database {self.shown_url}: {self.reason(error)}{_REST}")
        return StudyError(f"study {study!r} was deleted from {self.shown_url} meanwhile; choose another study")

    def _add(self, row: tables.Base) -> None:
        with self.session() as session, session.begin():
            session.add(row)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session; errors of the database become one clear error, except integrity errors.

        Waits for a server that is away for a moment.
        """
        self.check_there()
        if self.engine.dialect.name != "sqlite":
            self._wait_for_server()
        with clear_errors(self.engine.url, _REST), Session(self.engine) as session:
            yield session

    @retry_on_disconnect
    def _wait_for_server(self) -> None:
        with clear_errors(self.engine.url, _REST), self.engine.connect():
            pass


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, whatever its name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def now_utc() -> str:
    """Return the time as it is stored."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
