"""Memory of this process that was freed and is needed again at once, as in every step of a training.

The C library hands large freed blocks back to the system, which must clear them again before their next use; that can
take a third of a training step.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Parameters of mallopt, from glibc's malloc.h, and what they are set to in bytes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * 2**20}
# Where glibc's own rules end up in a process that has freed blocks of 32 MiB, as one that trains soon has.
_USUAL = {_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20, _TOP_PAD: 128 * 2**10}
# Whoever sets one of these has decided.
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")

_lock = threading.Lock()
_inside = 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory for the next step of what runs inside, in all threads; then hand it back to the system.

    Without effect where the C library is not glibc, or its memory is tuned by environment variables.
    """
    global _inside
    library = _glibc()
    if library is None or _is_tuned():
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(library, _KEPT)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(library, _USUAL)
                library.malloc_trim(0)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value_bytes in values.items():
        library.mallopt(parameter, value_bytes)


def _is_tuned() -> bool:
    return any(name in os.environ for name in _VARIABLES) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # a system without a C library of the process
        return None
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
