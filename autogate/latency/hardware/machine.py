"""What this machine is, and the state it is in, as it matters for measuring."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from autogate.latency.hardware.device import device_name, usable_cores
from autogate.latency.hardware.host_load import load_of_others

_PACKAGES = ("torch", "torchvision", "optuna", "sqlalchemy", "timm", "ray")
_CPU = Path("/sys/devices/system/cpu")
_QUIET_SHARE = 0.25
_MAX_PROCESSES = 3


def machine_facts() -> dict[str, Any]:
    """Return versions, devices, the work of others, and whether it is little enough to measure beside.

    The load average holds this process's own work of the last minute, and tells only where nothing else does.
    """
    load, others = _load(), load_of_others()
    busy = others["others_cores"] + others["stolen_cores"] if others else load
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu": device_name(torch.device("cpu")),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "load": load,
        **others,
        "quiet": busy is None or busy < _QUIET_SHARE * usable_cores(),
    }


def device_state(device: torch.device) -> dict[str, Any]:
    """Return what may change a device's speed from one moment to the next; absent facts are None."""
    if device.type == "cuda":
        from autogate.latency.hardware.nvml import gpu_state

        return gpu_state(device)
    return {
        "governor": _read(_CPU / "cpu0/cpufreq/scaling_governor"),
        "turbo_off": _read(_CPU / "intel_pstate/no_turbo"),
        "smt": _read(_CPU / "smt/active"),
        "load": _load(),
        "busiest": busiest_processes(),
    }


def busiest_processes() -> list[str]:
    """Return the names of other processes that are running on a core right now, most used first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if fields[0] == "R":
            found.append((int(fields[11]) + int(fields[12]), name))
    return [name for _, name in sorted(found, reverse=True)[:_MAX_PROCESSES]]


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
