"""What to do when a database drops a connection: wait, try again, and only then give up."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from autogate.errors import ConnectionDroppedError

_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Of a server that is shut down, crashes, or is not ready yet; and of connections that break.
_SERVER_STATES = ("57P0", "08")
_local = threading.local()

P = ParamSpec("P")
R = TypeVar("R")


def is_drop(error: BaseException) -> bool:
    """Whether the connection is at fault and not what was asked: the same may work in a moment."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or "database is locked" in str(error.orig):
        return True
    if type(error.orig).__module__.startswith("sqlite3"):
        return False
    state = getattr(error.orig, "sqlstate", None)
    # The driver knows no state of a connection that was never made.
    return isinstance(error, OperationalError | InterfaceError) and (state is None or state.startswith(_SERVER_STATES))


def waits_s() -> Iterator[float]:
    """Yield how long to wait before each further attempt; about a minute in all."""
    yield from _WAITS_S


def retry_on_disconnect(method: Callable[P, R], *, sleep: Callable[[float], None] = time.sleep) -> Callable[P, R]:
    """Let a method that may run again do so when its connection is dropped, with longer and longer waits.

    What it writes must come out the same if a first attempt was stored and only the answer was lost.
    """

    @functools.wraps(method)
    def persistent(*args: P.args, **kwargs: P.kwargs) -> R:
        if getattr(_local, "waiting", False):  # who called tries again already
            return method(*args, **kwargs)
        _local.waiting = True
        try:
            return retry(
                lambda: method(*args, **kwargs), lambda error: isinstance(error, ConnectionDroppedError), sleep=sleep
            )
        finally:
            _local.waiting = False

    return persistent


def retry(
    attempt: Callable[[], R], passes: Callable[[Exception], Any], *, sleep: Callable[[float], None] = time.sleep
) -> R:
    """Return what ``attempt`` returns; while it raises what ``passes`` with time, wait and try again."""
    for wait_s in waits_s():
        try:
            return attempt()
        except Exception as error:
            if not passes(error):
                raise
        sleep(wait_s)
    return attempt()
