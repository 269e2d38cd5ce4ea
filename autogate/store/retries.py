"""What to do when a database drops a connection: wait, try again, and only then give up."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import tenacity
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from autogate.errors import ConnectionDroppedError

# Seconds before each further attempt; about a minute in all.
_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# SQL states of a server that shuts down, crashes, or is not ready yet, and of connections that break.
_SERVER_STATES = ("57P0", "08")
_local = threading.local()

P = ParamSpec("P")
R = TypeVar("R")


def is_drop(error: BaseException) -> bool:
    """Whether an error is the connection's fault, not the statement's: the same may work in a moment."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or "database is locked" in str(error.orig):
        return True
    if type(error.orig).__module__.startswith("sqlite3"):
        return False
    state = getattr(error.orig, "sqlstate", None)
    # A connection that was never made has no state.
    return isinstance(error, OperationalError | InterfaceError) and (state is None or state.startswith(_SERVER_STATES))


def retry_on_disconnect(method: Callable[P, R], *, sleep: Callable[[float], None] = time.sleep) -> Callable[P, R]:
    """Decorate a method so that it runs again when its connection is dropped, after longer and longer waits.

    What the method writes must come out the same if a first attempt was stored and only the answer was lost. A
    decorated method that is called by another one is not retried by itself, so that waits do not multiply.
    """

    @functools.wraps(method)
    def persistent(*args: P.args, **kwargs: P.kwargs) -> R:
        if getattr(_local, "retrying", False):
            return method(*args, **kwargs)
        _local.retrying = True
        try:
            return retry(
                lambda: method(*args, **kwargs), lambda error: isinstance(error, ConnectionDroppedError), sleep=sleep
            )
        finally:
            _local.retrying = False

    return persistent


def retry(
    attempt: Callable[[], R], is_temporary: Callable[[Exception], Any], *, sleep: Callable[[float], None] = time.sleep
) -> R:
    """Call ``attempt`` until it returns; wait and try again while it raises what ``is_temporary`` accepts.

    Args:
        attempt: Takes nothing; its result is returned.
        is_temporary: Whether an error may be gone after a wait. Other errors, and the last one, are raised as they are.
        sleep: Waits for so many seconds.
    """
    attempts = tenacity.Retrying(
        sleep=sleep,
        wait=tenacity.wait_chain(*map(tenacity.wait_fixed, _WAITS_S)),
        stop=tenacity.stop_after_attempt(len(_WAITS_S) + 1),
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and bool(is_temporary(error))),
        reraise=True,
    )
    return attempts(attempt)
