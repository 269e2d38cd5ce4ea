"""Which workers of this host are alive: each holds a lock that the operating system releases when it dies."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # a system without file locks: nothing is known of others
    fcntl = None

_FOLDER = Path(tempfile.gettempdir()) / "autogate-workers"
_handles: set[int] = set()


class ProcessHeartbeat:
    """A sign of life of this process.

    Args:
        worker: Identity of the worker; None for a fresh one.
    """

    def __init__(self, worker: str | None = None) -> None:
        self.id = worker or new_id()
        self._handle: int | None = None
        if fcntl is None:
            return
        try:
            if not _FOLDER.exists():
                _FOLDER.mkdir(parents=True, exist_ok=True)
                _FOLDER.chmod(0o1777)
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
            self._handle = os.open(_FOLDER / self.id, flags, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _handles.add(self._handle)
        except OSError:
            self.end()

    def end(self) -> None:
        """Take the sign away."""
        if self._handle is None:
            return
        (_FOLDER / self.id).unlink(missing_ok=True)
        _handles.discard(self._handle)
        os.close(self._handle)
        self._handle = None


def new_id() -> str:
    """Return an identity for a worker."""
    return uuid.uuid4().hex


def is_dead(worker: str) -> bool:
    """Whether a worker of this host is known to have died; False if it lives, or lives elsewhere."""
    if fcntl is None or not worker.isalnum():
        return False
    try:
        handle = os.open(_FOLDER / worker, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        (_FOLDER / worker).unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)


def _forget_handles() -> None:
    for handle in _handles:
        os.close(handle)
    _handles.clear()


# A forked process, such as one that decodes images, must not seem to be a worker that died.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_handles)
