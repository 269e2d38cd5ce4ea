"""What NVIDIA's management library says of a GPU; reads only, except when clocks are asked to be locked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
