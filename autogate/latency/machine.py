"""What this machine is, as it matters for measuring."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

from autogate.latency.device import device_name, usable_cores

_PACKAGES = ("torch", "torchvision", "optuna", "sqlalchemy", "timm", "ray", "onnx")


def machine_facts() -> dict[str, Any]:
    """Return versions, devices, the load average, and whether it is low enough to measure."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu": device_name(torch.device("cpu")),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "load": load,
        "quiet": load is None or load < 0.5 * usable_cores(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
