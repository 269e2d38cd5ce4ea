"""Quantities with units, as users type them: ``5ms``, ``60%``, ``0.5%``, ``2h``, ``4GiB``, ``80mJ``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from autogate.errors import UnitError

_NUMBER = re.compile(r"^\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z%µ]*)\s*$")
_TIME_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_DURATION_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SHARES = {"%": 1e-2, "x": 1.0}
_JOULES = {"uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0}
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
        return cls(text.strip(), *_limit(text, "latency budget", _TIME_MS, "5ms, 800us, 60% or 0.6x"))

    def limit_ms(self, dense_ms: float) -> float:
        """Return the limit in milliseconds for a dense network of ``dense_ms`` milliseconds."""
        return _of_dense(self.absolute_ms, self.fraction, dense_ms)


@dataclass(frozen=True)
class MemoryBudget:
    """An upper limit on peak memory, absolute or relative to the dense network.

    Attributes:
        text: The budget as the user wrote it.
        absolute_bytes: The limit in bytes, or None for a relative budget.
        fraction: The limit as a fraction of the dense network's peak, or None for an absolute budget.
    """

    text: str
    absolute_bytes: float | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> MemoryBudget:
        """Parse ``200MiB``, ``512MB``, ``60%`` or ``0.6x``.

        Raises:
            UnitError: If the number is missing, not positive, or carries no known unit.
        """
        return cls(text.strip(), *_limit(text, "memory budget", _BYTES, "200MiB, 512MB, 60% or 0.6x"))

    def limit_bytes(self, dense_bytes: float) -> float:
        """Return the limit in bytes for a dense network whose peak is ``dense_bytes``."""
        return _of_dense(self.absolute_bytes, self.fraction, dense_bytes)


@dataclass(frozen=True)
class EnergyBudget:
    """An upper limit on the energy per image, absolute or relative to the dense network.

    Attributes:
        text: The budget as the user wrote it.
        absolute_joules: The limit in joules per image, or None for a relative budget.
        fraction: The limit as a fraction of the dense network's energy, or None for an absolute budget.
    """

    text: str
    absolute_joules: float | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> EnergyBudget:
        """Parse ``0.5J``, ``80mJ``, ``70%`` or ``0.7x``.

        Raises:
            UnitError: If the number is missing, not positive, or carries no known unit.
        """
        return cls(text.strip(), *_limit(text, "energy budget", _JOULES, "0.5J, 80mJ, 70% or 0.7x"))

    def limit_joules(self, dense_joules: float) -> float:
        """Return the limit in joules per image for a dense network of ``dense_joules`` per image."""
        return _of_dense(self.absolute_joules, self.fraction, dense_joules)


@dataclass(frozen=True)
class Budgets:
    """What a delivered network may take of each resource; None is no limit."""

    latency: LatencyBudget | None = None
    memory: MemoryBudget | None = None
    energy: EnergyBudget | None = None

    @classmethod
    def parse(cls, latency: str | None = None, memory: str | None = None, energy: str | None = None) -> Budgets:
        """Parse those that are given.

        Raises:
            UnitError: As the budgets' own ``parse`` does.
        """
        return cls(
            None if latency is None else LatencyBudget.parse(latency),
            None if memory is None else MemoryBudget.parse(memory),
            None if energy is None else EnergyBudget.parse(energy),
        )

    def otherwise(self, own: Budgets) -> Budgets:
        """Return these budgets, and ``own`` where there is none."""
        return Budgets(self.latency or own.latency, self.memory or own.memory, self.energy or own.energy)

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any((self.latency, self.memory, self.energy))


def _limit(text: str, what: str, units: Mapping[str, float], example: str) -> tuple[float | None, float | None]:
    """Parse a budget; return its absolute limit and its fraction of dense, one of which is None."""
    value, unit = _split(text, what, example)
    if unit in units:
        return value * units[unit], None
    if unit in _SHARES:
        return None, value * _SHARES[unit]
    raise UnitError(f"{what} {text!r} has the unknown unit {unit!r}; write it like {example}")


def _of_dense(absolute: float | None, fraction: float | None, dense: float) -> float:
    if fraction is not None:
        return fraction * dense
    assert absolute is not None  # noqa: S101 - one of the two is always set by parse()
    return absolute


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


def in_mib(size_bytes: float) -> str:
    """Return a memory size for people, such as ``1.84 MiB``."""
    mib = size_bytes / _BYTES["MiB"]
    return f"{mib:,.2f} MiB" if mib >= 1 else f"{mib:.3g} MiB"


def in_joules(joules: float) -> str:
    """Return an energy for people, such as ``12.3 mJ``."""
    return f"{joules * 1e3:,.3g} mJ" if joules < 1 else f"{joules:,.3g} J"
