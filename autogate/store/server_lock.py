"""A lock that a PostgreSQL server keeps for as long as a connection of its own lives."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from autogate.policy import digest
from autogate.store.database import clear_errors
from autogate.store.retries import retry_on_disconnect


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
