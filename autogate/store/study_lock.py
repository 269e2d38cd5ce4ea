"""Locks of studies: one driver at a time, and with SQLite on one host only.

The operating system or the server releases a lock when the process that holds it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from autogate.errors import StorageError, StudyRunningError
from autogate.policy import digest
from autogate.store import tables
from autogate.store.database import clear_errors
from autogate.store.host import MOVE, check_same_host, this_host
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import Database
from autogate.store.urls import DEFAULT_URL, sqlite_path
from autogate.system import FileLock


class ServerLock:
    """An advisory lock.

    Args:
        engine: The server's database.
        name: What is locked.
        shared: Whether others may hold it, too, if they share it.
    """

    def __init__(self, engine: Engine, name: str, shared: bool) -> None:
        self.name = name
        self._engine = engine
        self._shared = shared
        self._connection: Connection | None = None

    def take(self, *, wait: bool = False, again: bool = False) -> bool:
        """Take the lock; return whether it is held.

        Args:
            wait: Whether to wait until it is free.
            again: Whether it was held before, so that a server that is out of reach is waited for.
        """
        return self._take_again() if again else self._take(wait)

    def is_held(self) -> bool:
        """Whether the server still knows of it."""
        if self._connection is None:
            return False
        try:
            self._connection.execute(text("select 1"))
        except SQLAlchemyError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let it go."""
        if self._connection is not None:
            # Closed for good, not given back: the lock belongs to the connection, which may be broken.
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None

    @retry_on_disconnect
    def _take_again(self) -> bool:
        return self._take(False)

    def _take(self, wait: bool) -> bool:
        key = int(digest(["autogate", self.name]), 16) - 2**63
        take = f"pg_{'' if wait else 'try_'}advisory_lock{'_shared' if self._shared else ''}"
        with clear_errors(self._engine.url):
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            found = self._connection.scalar(text(f"select {take}(:key)"), {"key": key})  # noqa: S608 - of constants
        return wait or bool(found)


_WHOLE = "database"


class StudyLocks(Database):
    """Locks of a database and its studies."""

    def __init__(self, url: str = DEFAULT_URL, *, create: bool = False) -> None:
        super().__init__(url, create=create)
        self._server_locks: list[ServerLock] = []

    @contextmanager
    def running(self, study: str) -> Iterator[None]:
        """Hold the lock of a study, which need not exist yet, as its only driver.

        Raises:
            StudyRunningError: If another process holds it.
            StorageError: If the whole database is locked.
        """
        with ExitStack() as stack:
            if not stack.enter_context(self._lock(_WHOLE, shared=True)):
                raise StorageError(f"{self.shown_url} is being cleaned up; try again in a minute")
            if not stack.enter_context(self._lock(f"study {study}", shared=False)):
                raise _is_running(study)
            yield

    def check_held(self) -> None:
        """Take locks again that the server lost when it restarted.

        Raises:
            StudyRunningError: If another process took one first.
        """
        for lock in self._server_locks:
            if not lock.is_held() and not lock.take(again=True):
                raise StudyRunningError(
                    f"the database restarted, and another process took the {lock.name} meanwhile; nothing is "
                    "lost, resume when that process has ended"
                )

    @contextmanager
    def nothing_running(self) -> Iterator[None]:
        """Lock the whole database, so that no study can run.

        Raises:
            StorageError: If a study runs.
        """
        with self._lock(_WHOLE, shared=False) as held:
            if not held:
                raise StorageError(f"a study of {self.shown_url} runs right now; try again when it has ended")
            yield

    def claim(self, study: str) -> None:
        """Record this host as the one that runs a study.

        Raises:
            StudyError: If another host does, and the database is a file.
        """
        self.check_host(study)
        with self.session() as session, session.begin():
            session.get_one(tables.Study, study).host = this_host()

    def check_host(self, study: str, instead: str = MOVE) -> None:
        """Check that a study in a database file is run by this host; a file cannot be shared between hosts.

        Args:
            study: Name of the study.
            instead: Advice at the end of the error.

        Raises:
            StudyError: If another host runs it.
        """
        with self.session() as session:
            host = session.get_one(tables.Study, study).host
        if host is not None and self.engine.dialect.name == "sqlite":
            check_same_host(study, host, instead)

    @contextmanager
    def making_tables(self) -> Iterator[None]:
        """Hold the lock for making tables, after waiting for it: Optuna makes its tables without one."""
        with self._lock("tables", shared=False, wait=True):
            yield

    @contextmanager
    def _lock(self, name: str, *, shared: bool, wait: bool = False) -> Iterator[bool]:
        """Take a lock if it is free, or ``wait`` for it; yield whether it is held."""
        path = sqlite_path(self.engine.url)
        with self._postgres_lock(name, shared, wait) if path is None else _file_lock(path, name, shared, wait) as held:
            yield held

    @contextmanager
    def _postgres_lock(self, name: str, shared: bool, wait: bool) -> Iterator[bool]:
        lock = ServerLock(self.engine, name, shared)
        held = lock.take(wait=wait)
        if held:
            self._server_locks.append(lock)
        try:
            yield held
        finally:
            if held:
                self._server_locks.remove(lock)
            lock.release()


@contextmanager
def _file_lock(database: Path, name: str, shared: bool, wait: bool) -> Iterator[bool]:
    """Lock a file in the folder ``locks`` next to the database; yield whether it is held."""
    path = database.resolve().parent / "locks" / f"{database.name}-{digest(name)}"
    lock = FileLock(path, writable=True)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(exist_ok=True)
            held = stack.enter_context(lock.held(shared=shared, wait=wait))
        except OSError as error:
            raise StorageError(f"cannot make {path}: {error.strerror}; use --storage") from None
        yield held


def _is_running(study: str) -> StudyRunningError:
    return StudyRunningError(
        f"study {study!r} is run by another process right now; wait for its end, or choose another --study; "
        f"to speed it up, add workers: `autogate worker {study}`"
    )
