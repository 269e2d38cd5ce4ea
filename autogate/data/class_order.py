"""Whether the order of class folders is the one that a reader of their names expects."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_NUMBERED = re.compile(r"(?P<before>\D*)(?P<number>\d+)(?P<after>\D*)")
_SHOWN = 4


def about_order(class_names: Sequence[str]) -> list[str]:
    """Say that classes are named by numbers but stand in the order of texts, if that makes a difference.

    Args:
        class_names: Name of each class by label, such as ``10`` or ``class10``.

    Returns:
        One line, or none.
    """
    numbers = _numbers(class_names)
    by_number = [name for _, name in sorted(zip(numbers, class_names, strict=True))] if numbers else []
    if by_number in ([], list(class_names)):
        return []
    return [
        f"the classes are named by numbers but ordered as text: {_listed(class_names)}, not {_listed(by_number)}; for "
        "weights trained in the order of the numbers, rename the folders so that all have the same number of digits, "
        "such as 00 and 01"
    ]


def _numbers(names: Sequence[str]) -> list[float]:
    """Return the number that each name is, or that is all in which it differs from the others; else nothing."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return [float(name) for name in names]
    found = [match for name in names if (match := _NUMBERED.fullmatch(name))]
    if len(found) < len(names) or len({(match["before"], match["after"]) for match in found}) > 1:
        return []
    return [float(match["number"]) for match in found]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
