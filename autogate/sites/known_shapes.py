"""Sizes that the code of a network asks for while it is traced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from autogate.models import without_data
from autogate.sites.assembling import attribute

# What holds for both of them is no property of a batch.
_BATCH_SIZES = (1, 2)


class _UnknownValueError(Exception):
    """A value that tracing cannot know; says why."""


class KnownShapes:
    """Computes what nodes of a trace yield from the shape of the input alone, on tensors without data.

    Args:
        model: The network that is traced.
        input_shape: Shape of one input, such as channels, height and width.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        self._model = model
        self._input_shape = input_shape
        self._twin: nn.Module | None = None
        self._values: dict[int, dict[fx.Node, Any]] = {batch: {} for batch in _BATCH_SIZES}

    def value(self, node: fx.Node) -> bool | int | float | tuple[Any, ...]:
        """Return a number, or several, that a node yields for every batch.

        Raises:
            _UnknownValueError: If it is a tensor, depends on one's values or on the number of images, or fails.
        """
        try:
            found = [self._compute(node, batch) for batch in _BATCH_SIZES]
        except Exception as error:  # any failure of the user's code on tensors without data
            raise _UnknownValueError("depends on the values of a tensor") from error
        if not all(isinstance(value, bool | int | float | tuple | list) for value in found):
            raise _UnknownValueError("depends on the values of a tensor")
        first, *others = found
        if any(type(other) is not type(first) or other != first for other in others):
            raise _UnknownValueError("depends on the number of images in a batch")
        return tuple(first) if isinstance(first, tuple | list) else first

    def length(self, node: fx.Node) -> int:
        """Return the length of a tuple or list that a node yields, or the first size of a feature map.

        Raises:
            _UnknownValueError: As :meth:`value` does.
        """
        try:
            lengths = {len(self._compute(node, batch)) for batch in _BATCH_SIZES}
        except Exception as error:  # any failure of the user's code on tensors without data
            raise _UnknownValueError("depends on the values of a tensor") from error
        if len(lengths) > 1:
            raise _UnknownValueError("depends on the number of images in a batch")
        return lengths.pop()

    def _compute(self, node: fx.Node, batch: int) -> Any:
        values = self._values[batch]
        with torch.no_grad(), torch.device("meta"):
            for needed in _needed(node, values):
                values[needed] = self._run(needed, values, batch)
        return values[node]

    def _run(self, node: fx.Node, values: dict[fx.Node, Any], batch: int) -> Any:
        if node.op == "placeholder":
            return torch.empty(batch, *self._input_shape, device="meta")
        if node.op == "get_attr":
            value = attribute(self._model, str(node.target))
            return value.to("meta") if isinstance(value, Tensor) else value
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        if node.op == "call_function":
            assert callable(node.target)  # noqa: S101 - that is what the op says
            return node.target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        if self._twin is None:
            self._twin = without_data(self._model)
        return self._twin.get_submodule(str(node.target))(*args, **kwargs)


def _needed(node: fx.Node, known: dict[fx.Node, Any]) -> Iterator[fx.Node]:
    """Yield what must be computed for ``node``, each after its inputs."""
    missing: set[fx.Node] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if one not in known and one not in missing:
            missing.add(one)
            todo += one.all_input_nodes
    return (one for one in node.graph.nodes if one in missing)
