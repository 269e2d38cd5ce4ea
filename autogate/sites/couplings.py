"""Which layers a channel touches, from Torch-Pruning's dependency graph.

Torch-Pruning also collects the layers of a group, but compares every step with all before it. Where channels are
concatenated and sliced, that takes minutes. Here each channel passes each place once.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from autogate.models import without_data
from autogate.sites.trace_check import randomised_copy
from autogate.system import import_torch_pruning

# Slices of slices can move a channel on for ever; the largest networks stay far below.
_MOST_POSITIONS = 3_000_000


@dataclass(frozen=True)
class Place:
    """What a group of channels touches.

    Attributes:
        path: Path of the layer; None for an operation that is none.
        module: The layer or operation.
        reads: Whether the channels are inputs of the layer.
        channels: The group's channel at each position of the layer.
    """

    path: str | None
    module: Any
    reads: bool
    channels: dict[int, int]


class _Index(NamedTuple):
    """A position in a layer and the channel of the group that is there, as Torch-Pruning's mappings take them."""

    idx: int
    root_idx: int


class Couplings:
    """Torch-Pruning's dependency graph of a network.

    Args:
        model: The network.
        input_shape: Channels, height and width of one input.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int]) -> None:
        try:
            with torch.device("meta"):
                self._build(without_data(model), input_shape)
        except Exception:  # noqa: BLE001 - code of the user's that needs data
            self._build(randomised_copy(model).cpu(), input_shape)

    def _build(self, model: nn.Module, input_shape: tuple[int, int, int]) -> None:
        # What is frozen has no gradient, along which the graph is found.
        model.requires_grad_()
        self._paths = {module: path for path, module in model.named_modules()}
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            self._graph = import_torch_pruning().DependencyGraph().build_dependency(model, torch.ones(1, *input_shape))

    def groups(self) -> Iterator[tuple[str, list[Place]]]:
        """Yield each group of channels with the path of the convolution that writes it first."""
        written: set[Any] = set()
        for module in list(self._graph.module2node):
            if not isinstance(module, nn.Conv2d) or module in written:
                continue
            reached = self._reached(module)
            written |= {node.module for node, handler in reached if self._graph.is_out_channel_pruning_fn(handler)}
            yield (
                self._paths[module],
                [
                    Place(
                        self._paths.get(node.module),
                        node.module,
                        bool(self._graph.is_in_channel_pruning_fn(handler)),
                        channels,
                    )
                    for (node, handler), channels in reached.items()
                ],
            )

    def _reached(self, module: nn.Conv2d) -> dict[tuple[Any, Any], dict[int, int]]:
        """Return where each output channel of a convolution gets to: channels by position, by node and side of it."""
        start = (self._graph.module2node[module], self._graph.get_pruner_of_module(module).prune_out_channels)
        every = [_Index(channel, channel) for channel in range(module.out_channels)]
        found: dict[tuple[Any, Any], dict[int, int]] = defaultdict(dict)
        held = 0
        todo = [(start, every)]
        while todo:
            place, indices = todo.pop()
            fresh = []
            for index in indices:
                if index.idx not in found[place]:
                    found[place][index.idx] = index.root_idx
                    fresh.append(index)
            if not fresh:
                continue
            held += len(fresh)
            if held > _MOST_POSITIONS:
                raise RuntimeError("channels are found at ever more positions")
            node, handler = place
            for dependency in node.dependencies:
                if not dependency.is_triggered_by(handler):
                    continue
                mapped = fresh
                for mapping in dependency.index_mapping:
                    mapped = mapped if mapping is None else mapping(mapped)
                if mapped:
                    todo.append(((dependency.target, dependency.handler), mapped))
        return found
