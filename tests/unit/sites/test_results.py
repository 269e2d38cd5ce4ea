"""What networks return: tensors by place, and how far two results are apart."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch

from autogate.errors import ModelError
from autogate.sites import difference, tensors_of

A, B = torch.tensor([1.0, -4.0]), torch.tensor([[2.0]])
Scored = namedtuple("Scored", ["logits", "aux"])  # noqa: PYI024


@pytest.mark.parametrize(
    ("result", "places"),
    [
        (A, [""]),
        ((A, B), ["0", "1"]),
        ([A, None, B], ["0", "2"]),
        ({"out": A, "size": 3}, ["out"]),
        ({"out": A, "maps": [B, {"low": B}]}, ["out", "maps.0", "maps.1.low"]),
        (Scored(A, None), ["0"]),
    ],
)
def test_tensors_have_places(result: Any, places: list[str]) -> None:
    assert list(tensors_of(result)) == places


@pytest.mark.parametrize("result", [None, (), {"size": 3}])
def test_a_result_without_tensors_is_refused(result: Any) -> None:
    with pytest.raises(ModelError, match="returns no tensor"):
        tensors_of(result)


def test_anything_else_is_refused() -> None:
    with pytest.raises(ModelError, match="returns a object; return a tensor, or a tuple"):
        tensors_of([A, object()])


@pytest.mark.parametrize(
    ("found", "expected", "apart"),
    [
        ((A, B), (A.clone(), B.clone()), None),
        ((A + 1e-7, B), (A, B), None),
        ((A + torch.tensor([0.0, 1.0]), B), (A, B), 0.25),
        ((A, B + 1), (A, B), 0.5),
        ((A, B), (A, A), float("inf")),
        ((A,), (A, B), float("inf")),
        ({"x": A}, {"y": A}, float("inf")),
        (A / 0, A / 0, None),
        (A * float("nan"), A, float("inf")),
        (torch.tensor([True]), torch.tensor([False]), float("inf")),
        (torch.zeros(0), torch.zeros(0), None),
    ],
)
def test_differences_are_relative_to_the_largest_value_of_each_tensor(found: Any, expected: Any, apart: Any) -> None:
    assert difference(found, expected, 1e-5) == apart
