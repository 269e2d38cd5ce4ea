"""A connection of this process to a Ray cluster, or to one that it starts."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from autogate.errors import StorageError
from autogate.nas.executors.ray_address import check_address
from autogate.system import one_line, ray_entrypoint


def connect(address: str | None, study: str) -> bool:
    """Connect to a cluster, unless this process is connected already; return whether it was not.

    Args:
        address: Where the cluster is, as Ray has it; None to start one on this host.
        study: Name of the study, by which the cluster shows this process.

    Raises:
        StorageError: If there is no cluster.
    """
    if ray.is_initialized():
        return False
    check_address(address)
    # Ray would end the process with a dump of its memory, instead of letting it end in good order.
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
    try:
        with _same_on_termination(), ray_entrypoint(f"autogate, study {study}"):
            ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    except Exception as error:
        reason = one_line(error)
        raise StorageError(
            f"there is no Ray cluster {address or 'on this host'}: {reason}; see --ray-address"
        ) from None
    return True


@contextmanager
def _same_on_termination() -> Iterator[None]:
    """Keep what this process does when it is terminated, which Ray changes."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
