"""Quantities with units, as users type them: ``5ms``, ``60%``, ``0.5%``, ``2h``, ``4GiB``, ``80mJ``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping

from autogate.errors import UnitError

_NUMBER = re.compile(r"^\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z%µ]*)\s*$")
TIMES_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_DURATION_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SHARES = {"%": 1e-2, "x": 1.0}
JOULES = {"uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0}
BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


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


def parse_limit(text: str, what: str, units: Mapping[str, float], examples: str) -> tuple[float | None, float | None]:
    """Parse an upper limit; return it in the base unit, and as a fraction of dense. One of the two is None.

    Args:
        text: What the user wrote.
        what: Its name, for messages.
        units: Factor to the base unit of each unit.
        examples: How to write it, for messages.

    Raises:
        UnitError: If the number is missing, not positive, or carries no known unit.
    """
    value, unit = _split(text, what, examples)
    if unit in units:
        return value * units[unit], None
    if unit in _SHARES:
        return None, value * _SHARES[unit]
    raise UnitError(f"{what} {text!r} has the unknown unit {unit!r}; write it like {examples}")


def parse_percentage_points(text: str, what: str, example: str) -> float:
    """Parse percentage points such as ``0.5%`` into a fraction (0.005).

    Raises:
        UnitError: If it is not above 0% and below 100%.
    """
    value, unit = _split(text, what, example)
    if unit != "%":
        raise UnitError(f"{what} {text!r} must be in percentage points; write it like {example}")
    if value >= 100:
        raise UnitError(f"{what} {text!r} must be below 100%")
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
    if unit not in BYTES:
        raise UnitError(f"memory size {text!r} has the unknown unit {unit!r}; write it like 512MiB or 2GiB")
    return int(value * BYTES[unit])


def parse_channels(text: str) -> tuple[float, ...]:
    """Parse comma-separated numbers, one per channel, such as ``0.485,0.456,0.406`` or ``0.5``."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        example = "0.485,0.456,0.406"
        raise UnitError(f"{text!r} must be numbers, one per channel; write it like {example}") from None


LARGEST_SIDE = 16_384
"""Longest side of an input, in pixels."""


def parse_size(value: object) -> int | tuple[int, int]:
    """Return height and width of an input in pixels, or one number for a square.

    Args:
        value: What the user wrote: ``224``, ``"224x160"`` (height first) or ``(224, 160)``.

    Raises:
        UnitError: If it is nothing of that, or no size that an input can have.
    """
    parts = re.split("[x×]", value.strip()) if isinstance(value, str) else value
    sides = tuple(parts) if isinstance(parts, tuple | list) else (parts,)
    try:
        numbers = [int(side) if isinstance(side, str) else operator.index(side) for side in sides]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2) or any(isinstance(side, bool) for side in sides):
        raise UnitError(f"must be a whole number, or height and width such as 224x160, not {value!r}")
    for side in numbers:
        if side <= 0:
            raise UnitError(f"must be above zero, not {side}")
        if side > LARGEST_SIDE:
            raise UnitError(f"must be at most {LARGEST_SIDE}, not {side}")
    height, width = numbers[0], numbers[-1]
    return height if height == width else (height, width)


def in_mib(size_bytes: float) -> str:
    """Return a memory size for people, such as ``1.84 MiB``."""
    mib = size_bytes / BYTES["MiB"]
    return f"{mib:,.2f} MiB" if mib >= 1 else f"{mib:.3g} MiB"


def in_joules(joules: float) -> str:
    """Return an energy for people, such as ``12.3 mJ``."""
    return f"{joules * 1e3:,.3g} mJ" if joules < 1 else f"{joules:,.3g} J"


def score_text(score: float | None, digits: int = 2) -> str:
    """Write a score for people: an accuracy as a percentage, any other number as it is, none as nothing.

    Args:
        score: A fraction, or what a caller's own function returned.
        digits: Digits of a percentage behind the point.
    """
    if score is None:
        return ""
    return f"{score:.{digits}%}" if 0 <= score <= 1 else f"{score:.4g}"


def score_format(scores: Iterable[float], digits: int) -> str:
    """Return the format, as Plotly takes it, of an axis of scores: percentages if all are fractions, else numbers."""
    return f".{digits}%" if all(0 <= score <= 1 for score in scores) else ".4~g"
