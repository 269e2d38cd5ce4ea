"""Which of the tensors that a network returns holds the scores of the classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from autogate.errors import ModelError
from autogate.sites import tensors_of


def class_scores(result: Any, output: str | None = None) -> Tensor:
    """Return the scores of the classes, float ``[N, classes]``, in what a network returns.

    They may have further dimensions of size one, as a network has that ends in a convolution; else as
    :func:`score_tensor`.
    """
    return score_tensor(result, output).flatten(1)


def score_tensor(result: Any, output: str | None = None) -> Tensor:
    """Return the tensor of the class scores in what a network returns.

    Args:
        result: What it returns: that tensor, alone or among others.
        output: Its place, such as ``out`` or ``0``; None if there is no other tensor.

    Raises:
        ModelError: If there are several tensors and no place is named, or nothing is in that place.
    """
    if isinstance(result, Tensor) and output is None:
        return result
    found = tensors_of(result)
    if output is None and len(found) == 1:
        return next(iter(found.values()))
    if output not in found:
        there = ", ".join(f"{place} {list(tensor.shape)}" for place, tensor in found.items() if place)
        if not there:
            raise ModelError(f"the network returns a single tensor, and nothing called {output!r}; leave --output out")
        wrong = "several tensors" if output is None else f"nothing called {output!r}"
        raise ModelError(f"the network returns {wrong}: {there}; name that of the scores with --output")
    return found[output]
