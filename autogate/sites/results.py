"""What networks return: one tensor, or tuples, lists and dictionaries of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from autogate.errors import ModelError


def tensors_of(result: Any) -> dict[str, Tensor]:
    """Return the tensors in a network's result by their places: ``out``, ``0``, ``aux.1``; ``""`` for a lone tensor.

    What is None, a number or a text is left out.

    Raises:
        ModelError: If the result holds anything else, or no tensor at all.
    """
    found = dict(_tensors(result, ""))
    if not found:
        raise ModelError("the network returns no tensor; return one, or a tuple, list or dictionary of tensors")
    return found


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping | tuple | list):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _tensors(part, f"{place}.{key}" if place else str(key))
    elif value is not None and not isinstance(value, int | float | str):
        raise ModelError(
            f"the network returns a {type(value).__name__}; return a tensor, or a tuple, list or dictionary of tensors"
        )


def difference(found: Any, expected: Any, tolerance: float = 0.0) -> float | None:
    """Return how far two results are apart, relative to the largest value of each tensor; None within ``tolerance``.

    Results of other places or shapes are infinitely far apart. What is not finite must be so in both.
    """
    ours, theirs = tensors_of(found), tensors_of(expected)
    if ours.keys() != theirs.keys():
        return float("inf")
    apart = [_apart(ours[place], theirs[place], tolerance) for place in theirs]
    return max((value for value in apart if value is not None), default=None)


def _apart(found: Tensor, expected: Tensor, tolerance: float) -> float | None:
    if found.shape != expected.shape:
        return float("inf")
    left, right = found.detach().double(), expected.detach().double()
    finite = right[right.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    if left.allclose(right, rtol=0.0, atol=tolerance * scale, equal_nan=True):
        return None
    worst = float((left - right).abs().max())
    return worst / scale if scale and worst == worst else float("inf")
