"""Ways to run a network on a device: one file each, and the registry that finds them by name."""

from autogate.runtimes.deployed_network import DeployedNetwork
from autogate.runtimes.inductor_package import load_package, write_package
from autogate.runtimes.isolated import IsolatedNetwork, IsolatedProcess
from autogate.runtimes.onnx_file import write_onnx
from autogate.runtimes.quantised import CALIBRATION_IMAGES, INT8, quantise
from autogate.runtimes.registry import (
    RUNTIMES,
    check_profiled,
    check_runtime,
    get_runtime,
    isolated_runtime,
    no_saving_reason,
    register_runtime,
    runnable,
    timed_by_unit,
)
from autogate.runtimes.runtime import Runnable, Runtime, TimedByUnit, TimedRunnable, UnitTimes

__all__ = [
    "CALIBRATION_IMAGES",
    "INT8",
    "IsolatedNetwork",
    "IsolatedProcess",
    "DeployedNetwork",
    "RUNTIMES",
    "Runnable",
    "Runtime",
    "TimedByUnit",
    "TimedRunnable",
    "UnitTimes",
    "check_profiled",
    "check_runtime",
    "get_runtime",
    "isolated_runtime",
    "load_package",
    "no_saving_reason",
    "quantise",
    "register_runtime",
    "runnable",
    "timed_by_unit",
    "write_onnx",
    "write_package",
]
