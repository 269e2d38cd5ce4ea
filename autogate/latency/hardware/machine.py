"""What this machine is, the state it is in, and how busy other work keeps it, as far as it matters for measuring."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from autogate.latency.hardware.device import device_name
from autogate.system import load_of_others, usable_cores

_PACKAGES = ("torch", "torchvision", "optuna", "sqlalchemy", "timm", "ray")
_CPU = Path("/sys/devices/system/cpu")
_QUIET_SHARE = 0.25
_MAX_PROCESSES = 3
# Parent of the kernel's own threads, which nobody can stop.
_KERNEL = 2


def machine_facts() -> dict[str, Any]:
    """Return versions, devices, the load by other processes, and ``quiet``: whether that load allows measuring.

    The load average includes this process's work of the last minute, so it decides only where nothing else is known.
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
    """Return what may change a device's speed from one moment to the next; None stands for what cannot be read."""
    if device.type == "cuda":
        from autogate.latency.hardware.gpu import gpu_state

        return gpu_state(device)
    return {
        "governor": _read(_CPU / "cpu0/cpufreq/scaling_governor"),
        "turbo_off": _read(_CPU / "intel_pstate/no_turbo"),
        "smt": _read(_CPU / "smt/active"),
        "load": _load(),
        "busiest": busiest_processes(),
    }


def busiest_processes(limit: int = _MAX_PROCESSES) -> list[str]:
    """Return the names of at most ``limit`` other processes that run on a core right now, most CPU time first."""
    found = []
    for process in psutil.process_iter(["name", "status", "cpu_times", "ppid"]):
        facts = process.info
        others = process.pid != os.getpid() and facts["ppid"] != _KERNEL
        if others and facts["status"] == psutil.STATUS_RUNNING and facts["cpu_times"]:
            found.append((facts["cpu_times"].user + facts["cpu_times"].system, facts["name"]))
    return [name for _, name in sorted(found, reverse=True)[:limit]]


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
