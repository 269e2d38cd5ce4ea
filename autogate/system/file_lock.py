"""Locks on files of this host, shared or exclusive, which the operating system releases when their holder ends.

Why ``flock`` and not the library filelock: its native locks cannot be shared and wait by polling, and its
readers-writer lock is a SQLite transaction that takes 0.5 ms instead of 0.002 ms, too much for every training step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # a system without such locks: every lock counts as free
    fcntl = None

LOCKS_SUPPORTED = fcntl is not None
_opened: set[FileLock] = set()
_opening = threading.Lock()


class FileLock:
    """A lock on a file. All threads of a process that share one object share its lock.

    Args:
        path: The file, in a folder that exists.
        create: Whether to make a file that does not exist.
        writable: Open the file for writing too, which network file systems want for an exclusive lock; without it, the
            file may belong to another user.
    """

    def __init__(self, path: Path, *, create: bool = True, writable: bool = False) -> None:
        self.path = path
        self._flags = (os.O_RDWR if writable else os.O_RDONLY) | (os.O_CREAT if create else 0)
        self._flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        self._handle: int | None = None

    def acquire(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock and return whether it is held; where the system has no locks, always True.

        Args:
            shared: Allow others that share it.
            wait: Wait until it is free; otherwise return at once.

        Raises:
            OSError: If the file cannot be opened or locked.
        """
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._open(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back and keep the file open for the next time."""
        if fcntl is not None and self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the lock back and close the file."""
        _opened.discard(self)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @contextmanager
    def held(self, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
        """Take the lock as :meth:`acquire` does, yield whether it is held, and close the file in the end."""
        try:
            yield self.acquire(shared=shared, wait=wait)
        finally:
            self.close()

    def _open(self) -> int:
        with _opening:
            if self._handle is None:
                self._handle = os.open(self.path, self._flags, 0o644)
                _opened.add(self)
            return self._handle


def make_shared_folder(folder: Path) -> None:
    """Make a folder in which every user of the host may create files but not remove those of others.

    Raises:
        OSError: If it cannot be made.
    """
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)


def _close_inherited() -> None:
    """Close the files that a forked process inherits: it must neither hold nor release its parent's locks.

    It may outlive its parent, like a process that decodes images, and would keep the locks of a dead process.
    """
    global _opening
    _opening = threading.Lock()  # another thread of the parent may hold the inherited one
    for lock in list(_opened):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
