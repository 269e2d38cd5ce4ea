"""Keep training and measuring on one host apart: training steps share a device, a measurement has it alone.

Locks are files of the host that the operating system releases when their holder dies. Training on any device also
uses the host, which is what a measurement on the CPU takes for itself. A measurement on a GPU shares the host with
training on other GPUs and with measurements there, but keeps training on the CPU out: the host sets the pace of a
network that runs operator by operator. A CPU step shares every GPU for that, as far as one was ever used here.

Locks are taken in the order of their names, GPUs before the host, so that nobody waits in a circle.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # a system without file locks: nothing is kept apart
    fcntl = None

FOLDER = Path(tempfile.gettempdir()) / "autogate-locks"
_HOST = "host"
_waited_s = 0.0


@contextmanager
def training_step(device: torch.device, *, folder: Path = FOLDER) -> Iterator[None]:
    """Share ``device`` and the host for one step; wait while a measurement runs on either, or waits to run.

    A step on the CPU waits for measurements on GPUs, too.

    Args:
        device: Where the step runs.
        folder: The host's folder of locks.
    """
    name = _name(device)
    with ExitStack() as stack:
        for shared in sorted({_HOST, *(_known_gpus(folder) if name == _HOST else (name,))}):
            stack.enter_context(_shared(folder, shared))
        yield


@contextmanager
def measurement(
    device: torch.device, *, folder: Path = FOLDER, name_of: Callable[[torch.device], str] | None = None
) -> Iterator[None]:
    """Have ``device``, on the CPU the host, alone: wait until running steps are over, and let no new one start.

    On a GPU, no step on the CPU and no measurement there runs meanwhile either; one on another GPU may.

    Args:
        device: What is measured.
        folder: The host's folder of locks.
        name_of: Names a device as every process of the host does; None for the usual names.
    """
    global _waited_s
    name = (name_of or _name)(device)
    asked = time.monotonic()
    with ExitStack() as stack:
        is_new = name != _HOST and name not in _known_gpus(folder)
        stack.enter_context(_alone(folder, name))
        if is_new:
            # Steps that run on the CPU now did not know of this GPU; let them end.
            with _alone(folder, _HOST):
                pass
        if name != _HOST:
            stack.enter_context(_shared(folder, _HOST))
        _waited_s += time.monotonic() - asked
        yield


def measuring_clock() -> float:
    """Return a monotonic time in seconds that leaves out how long measurements of this process waited for a device."""
    return time.monotonic() - _waited_s


def _name(device: torch.device) -> str:
    """Name a device as every process of the host does, whatever it calls it."""
    return f"gpu-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else _HOST


def _known_gpus(folder: Path) -> set[str]:
    """Return the names of the GPUs that some process of this host has ever locked."""
    try:
        return {path.name for path in folder.glob("gpu-*") if path.suffix != ".turnstile"}
    except OSError:
        return set()


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    with _flock(folder, f"{name}.turnstile", exclusive=True), _flock(folder, name, exclusive=True):
        yield


@contextmanager
def _shared(folder: Path, name: str) -> Iterator[None]:
    # Whoever waits to measure holds the turnstile, so that a stream of short steps cannot keep it out for ever.
    with ExitStack() as stack:
        with _flock(folder, f"{name}.turnstile", exclusive=False):
            stack.enter_context(_flock(folder, name, exclusive=False))
        yield


@contextmanager
def _flock(folder: Path, name: str, *, exclusive: bool) -> Iterator[None]:
    handle = _handle(folder, name)
    if fcntl is None or handle is None:
        yield
        return
    fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


@cache
def _handle(folder: Path, name: str) -> int | None:
    """Open a lock file for the life of the process; None where the host has no place for it."""
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o1777)
        flags = os.O_RDONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        return os.open(folder / name, flags, 0o644)
    except OSError:
        return None


# A forked process would share its parent's locks through inherited handles.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_handle.cache_clear)
