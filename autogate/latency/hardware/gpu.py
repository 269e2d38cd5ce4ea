"""A GPU through NVIDIA's management library and torch: its state, its clocks, and the modes its libraries run in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pynvml
import torch

from autogate.errors import DeviceError

# Reasons that make a sample worthless: software and hardware thermal slowdown, hardware slowdown, power brake.
THROTTLED = 0x20 | 0x40 | 0x8 | 0x80
POWER_CAPPED = 0x4
_locked: set[torch.device] = set()


@contextmanager
def handle_of(device: torch.device) -> Iterator[Any]:
    """Yield the library's handle of a torch device, which may number the GPUs otherwise."""
    pynvml.nvmlInit()
    try:
        uuid = torch.cuda.get_device_properties(device).uuid
        yield pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
    finally:
        pynvml.nvmlShutdown()


def gpu_state(device: torch.device) -> dict[str, Any]:
    """Return clocks in MHz, power in watts, temperature in °C, throttle reasons, driver and other processes."""
    with handle_of(device) as gpu:

        def known(read: Any, *args: Any) -> Any:
            try:
                return read(gpu, *args)
            except pynvml.NVMLError:
                return None

        def watts(read: Any) -> float | None:
            milliwatts = known(read)
            return None if milliwatts is None else milliwatts / 1000

        processes = known(pynvml.nvmlDeviceGetComputeRunningProcesses)
        reasons = known(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
        return {
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
            "sm_mhz": known(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
            "memory_mhz": known(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM),
            "max_sm_mhz": known(pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_SM),
            "power_watts": watts(pynvml.nvmlDeviceGetPowerUsage),
            "power_limit_watts": watts(pynvml.nvmlDeviceGetEnforcedPowerLimit),
            "temperature_c": known(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
            "throttled": None if reasons is None else bool(reasons & THROTTLED),
            "power_capped": None if reasons is None else bool(reasons & POWER_CAPPED),
            "other_processes": None if processes is None else sum(p.pid != os.getpid() for p in processes),
        }


class ThrottleWatch:
    """Tells whether a GPU ran slower for a reason of heat or power, each time it is asked.

    Idling and clocks that somebody set are no such reasons. A GPU at its power limit is counted only: some run there
    all the time.

    Args:
        reasons: Returns the reasons of the moment, as the library's bits.

    Attributes:
        asked: How often it was asked.
        throttled: How often the GPU was throttled then.
        power_capped: How often it was at its power limit.
    """

    def __init__(self, reasons: Callable[[], int]) -> None:
        self._reasons = reasons
        self.asked = self.throttled = self.power_capped = 0

    def __call__(self) -> bool:
        """Return whether the GPU is throttled right now; False where it does not tell."""
        try:
            reasons = self._reasons()
        except pynvml.NVMLError:
            return False
        self.asked += 1
        self.power_capped += bool(reasons & POWER_CAPPED)
        self.throttled += bool(reasons & THROTTLED)
        return bool(reasons & THROTTLED)


@contextmanager
def throttle_watch(device: torch.device) -> Iterator[ThrottleWatch | None]:
    """Yield a watch over a GPU; None over anything else, or where the library cannot be had."""
    if device.type != "cuda":
        yield None
        return
    with ExitStack() as stack:
        try:
            gpu = stack.enter_context(handle_of(device))
        except pynvml.NVMLError:
            yield None
        else:
            yield ThrottleWatch(lambda: int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)))


@contextmanager
def clocks_locked(device: torch.device) -> Iterator[None]:
    """Lock the GPU's clock to its highest, and restore it afterwards.

    Raises:
        DeviceError: If this process may not, or the device cannot.
    """
    if device.type != "cuda":
        raise DeviceError(f"the clocks of {device} cannot be locked; leave --lock-clocks out")
    with handle_of(device) as gpu:
        highest = pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM)
        try:
            pynvml.nvmlDeviceSetGpuLockedClocks(gpu, highest, highest)
        except pynvml.NVMLError as problem:
            raise DeviceError(f"cannot lock the clocks of {device} ({problem}); leave --lock-clocks out") from None
        _locked.add(device)
        try:
            yield
        finally:
            _locked.discard(device)
            pynvml.nvmlDeviceResetGpuLockedClocks(gpu)


def are_locked(device: torch.device) -> bool:
    """Whether this process holds the GPU's clock."""
    return device in _locked


def gpu_modes(device: torch.device) -> dict[str, str]:
    """Return whether TF32 and cuDNN's benchmarking are ``on`` or ``off``, and ``clocks``, if they are ``locked``."""
    backends = torch.backends
    modes = {
        "matmul_tf32": _tf32(lambda: backends.cuda.matmul.allow_tf32, lambda: backends.cuda.matmul.fp32_precision),
        "cudnn_tf32": _tf32(lambda: backends.cudnn.allow_tf32, lambda: backends.cudnn.conv.fp32_precision),  # type: ignore[attr-defined]
        "cudnn_benchmark": _switch(backends.cudnn.benchmark),
    }
    return modes | ({"clocks": "locked"} if are_locked(device) else {})


def _tf32(allowed: Callable[[], bool], precision: Callable[[], str]) -> str:
    try:
        return _switch(allowed())
    except RuntimeError:
        # Torch refuses to read the old setting once the new one was written.
        return _switch(precision() == "tf32")


def _switch(on: bool) -> str:
    return "on" if on else "off"
