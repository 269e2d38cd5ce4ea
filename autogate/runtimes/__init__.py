"""Ways to run a network on a device: one file each, and the registry that finds them by name."""

from autogate.runtimes.isolated import IsolatedNetwork, IsolatedProcess
from autogate.runtimes.onnx_file import write_onnx
from autogate.runtimes.registry import (
    RUNTIMES,
    check_profiled,
    check_runtime,
    get_runtime,
    no_saving_reason,
    register_runtime,
    runnable,
    timed_by_unit,
)
from autogate.runtimes.runtime import Runnable, Runtime, TimedByUnit, TimedRunnable, UnitTimes

__all__ = [
    "IsolatedNetwork",
    "IsolatedProcess",
    "RUNTIMES",
    "Runnable",
    "Runtime",
    "TimedByUnit",
    "TimedRunnable",
    "UnitTimes",
    "check_profiled",
    "check_runtime",
    "get_runtime",
    "no_saving_reason",
    "register_runtime",
    "runnable",
    "timed_by_unit",
    "write_onnx",
]
