"""Quantities with units, as users type them: ``5ms``, ``60%``, ``0.5%``, ``2h``, ``4GiB``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from autogate.errors import UnitError

_NUMBER = re.compile(r"^\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z%µ]*)\s*$")
_TIME_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_DURATION_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _NUMBER.match(text)
    if match is None:
        raise UnitError(f"{what} {text!r} is not a number with a unit; write it like {example}")
    value, unit = float(match.group(1)), match.group(2)
    if not unit:
        raise UnitError(f"{what} {text!r} has no unit; write it like {example}")
    if value <= 0 or not math.isfinite(value):
        raise UnitError(f"{what} {text!r} must be above zero and finite; write it like {example}")
    return value, unit


@dataclass(frozen=True)
class LatencyBudget:
    """An upper limit on latency, absolute or relative to the dense network.

    Attributes:
        text: The budget as the user wrote it.
        absolute_ms: The limit in milliseconds, or None for a relative budget.
        fraction: The limit as a fraction of the dense latency, or None for an absolute budget.
    """

    text: str
    absolute_ms: float | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> LatencyBudget:
        """Parse ``5ms``, ``800us``, ``60%`` or ``0.6x``.

        Raises:
            UnitError: If the number is missing, not positive, or carries no known unit.
        """
        example = "5ms, 800us, 60% or 0.6x"
        value, unit = _split(text, "latency budget", example)
        if unit in _TIME_MS:
            return cls(text.strip(), absolute_ms=value * _TIME_MS[unit])
        if unit == "%":
            return cls(text.strip(), fraction=value / 100)
        if unit == "x":
            return cls(text.strip(), fraction=value)
        raise UnitError(f"latency budget {text!r} has the unknown unit {unit!r}; write it like {example}")

    def limit_ms(self, dense_ms: float) -> float:
        """Return the limit in milliseconds for a dense network of ``dense_ms`` milliseconds."""
        if self.fraction is not None:
            return self.fraction * dense_ms
        assert self.absolute_ms is not None  # noqa: S101 - one of the two is always set by parse()
        return self.absolute_ms


def parse_drop(text: str) -> float:
    """Parse an accuracy drop such as ``0.5%`` into a fraction (0.005)."""
    value, unit = _split(text, "accuracy drop", "0.5%")
    if unit != "%":
        raise UnitError(f"accuracy drop {text!r} must be in percentage points; write it like 0.5%")
    if value >= 100:
        raise UnitError(f"accuracy drop {text!r} must be below 100%")
    return value / 100


def parse_duration(text: str) -> float:
    """Parse ``90s``, ``5m``, ``2h`` or ``1d`` into seconds."""
    value, unit = _split(text, "duration", "90s, 5m or 2h")
    if unit not in _DURATION_S:
        raise UnitError(f"duration {text!r} has the unknown unit {unit!r}; write it like 90s, 5m or 2h")
    return value * _DURATION_S[unit]


def parse_bytes(text: str) -> int:
    """Parse ``512MiB`` or ``2GiB`` into bytes."""
    value, unit = _split(text, "memory size", "512MiB or 2GiB")
    if unit not in _BYTES:
        raise UnitError(f"memory size {text!r} has the unknown unit {unit!r}; write it like 512MiB or 2GiB")
    return int(value * _BYTES[unit])
