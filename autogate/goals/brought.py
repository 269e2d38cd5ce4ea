"""Names in a configuration for what a caller passes from Python as an object: a network, data, a sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PYTHON = "python"


def is_brought(name: str) -> bool:
    """Whether a setting stands for an object that the caller passed."""
    return name.split(":")[0] == _PYTHON


def sampler_name(sampler: object) -> str:
    """Return the setting that stands for a sampler: its name, or ``python:CLASS`` for an object."""
    return sampler if isinstance(sampler, str) else f"{_PYTHON}:{type(sampler).__name__}"


def config_names(model: object, data: object) -> dict[str, Any]:
    """Return the settings that stand for a network and data, each a name or an object."""
    names: dict[str, Any] = {"data": str(data) if isinstance(data, str | Path) else _PYTHON}
    if isinstance(model, str):
        return {**names, "model": model}
    return {**names, "model": f"{_PYTHON}:{type(model).__name__}", "weights": "in memory"}
