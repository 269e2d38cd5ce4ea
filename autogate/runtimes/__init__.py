"""Ways to run a network on a device: one file each, and the registry that finds them by name."""

from autogate.runtimes.registry import (
    RUNTIMES,
    check_profiled,
    check_runtime,
    get_runtime,
    no_saving_reason,
    register_runtime,
    runnable,
)
from autogate.runtimes.runtime import Runnable, Runtime

__all__ = [
    "RUNTIMES",
    "Runnable",
    "Runtime",
    "check_profiled",
    "check_runtime",
    "get_runtime",
    "no_saving_reason",
    "register_runtime",
    "runnable",
]
