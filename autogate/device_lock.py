"""Locks between training and measuring on one host: training steps share a device, a measurement has it alone.

Locks are files of the host that the operating system releases when their holder dies. Training on any device also
uses the host, which is what a measurement on the CPU takes for itself. A measurement on a GPU shares the host with
training on other GPUs and with measurements there, but keeps training on the CPU out: the host sets the pace of a
network that runs operator by operator. A CPU step shares every GPU for that, as far as one was ever used here.

Locks are taken in the order of their names, GPUs before the host, so that no two processes wait for each other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import torch

from autogate.system import FileLock, make_shared_folder

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
    """Return a name of a device that all processes of the host agree on."""
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
    lock = _lock_file(folder, name)
    with suppress(OSError):  # no place for locks on this host: training and measuring may overlap
        lock.acquire(shared=not exclusive)
    try:
        yield
    finally:
        lock.release()


@cache
def _lock_file(folder: Path, name: str) -> FileLock:
    """Return the lock of a name in a folder; its file stays open for the life of the process."""
    with suppress(OSError):  # which taking the lock meets again
        make_shared_folder(folder)
    return FileLock(folder / name)
