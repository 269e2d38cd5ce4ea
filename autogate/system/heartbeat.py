"""Which workers of this host are alive: each holds a lock that the operating system releases when it dies."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from autogate.system.file_lock import LOCKS_SUPPORTED, FileLock, make_shared_folder

_FOLDER = Path(tempfile.gettempdir()) / "autogate-workers"


class ProcessHeartbeat:
    """Shows that this process is alive, until :meth:`end`.

    Args:
        worker: Identity of the worker; None for a new one.
    """

    def __init__(self, worker: str | None = None) -> None:
        self.id = worker or new_id()
        self._lock: FileLock | None = None
        if not LOCKS_SUPPORTED:
            return
        lock = FileLock(_FOLDER / self.id)
        try:
            make_shared_folder(_FOLDER)
            if lock.acquire(wait=False):
                self._lock = lock
        except OSError:
            lock.close()

    def end(self) -> None:
        """Remove the sign of life."""
        if self._lock is not None:
            self._lock.path.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def new_id() -> str:
    """Return a new identity for a worker."""
    return uuid.uuid4().hex


def is_dead(worker: str) -> bool:
    """Whether a worker of this host is known to have died; False if it lives, or lives elsewhere."""
    if not LOCKS_SUPPORTED or not worker.isalnum():
        return False
    lock = FileLock(_FOLDER / worker, create=False)
    try:
        with lock.held(wait=False) as held:
            if held:
                lock.path.unlink(missing_ok=True)
            return held
    except OSError:
        return False
