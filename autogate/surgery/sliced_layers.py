"""Layers that run, in training, on the channels that gates have selected for the step, and on no other.

Their tensors are physically smaller. The weights stay whole, so that what is not selected keeps its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates import TrainingGate
from autogate.sites import Member, Network

# Of a cumulative average, which partial updates cannot keep.
_MOMENTUM = 0.1

Selected = tuple[torch.Tensor | None, ...]
"""Per dimension of a parameter, the positions in use, int64; None for all."""


@dataclass(frozen=True)
class _ChannelSelection:
    """Positions of a layer's channels that follow a gate's selection; ``alone`` if they are all, in order."""

    gate: TrainingGate
    positions: torch.Tensor
    channels: torch.Tensor
    alone: bool


class _Followings:
    """What selects among the ``size`` inputs or outputs of a layer."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.all: list[_ChannelSelection] = []

    def add(self, gate: TrainingGate, member: Member) -> None:
        """Let a gate select."""
        alone = len(member.positions) == self.size and member.positions == member.channels
        self.all.append(_ChannelSelection(gate, torch.tensor(member.positions), torch.tensor(member.channels), alone))

    def positions(self) -> torch.Tensor | None:
        """Return the positions in use, sorted, int64 ``[k]``; None if all are."""
        in_use: torch.Tensor | None = None
        for following in self.all:
            selected = following.gate.selected
            if selected is None:
                continue
            if following.alone:
                return selected
            if in_use is None:
                in_use = torch.ones(self.size, dtype=torch.bool, device=selected.device)
            here = torch.isin(following.channels.to(selected.device), selected)
            in_use[following.positions.to(selected.device)] = here
        return None if in_use is None else in_use.nonzero()[:, 0]


class SlicedLayer(nn.Module):
    """A layer that follows gates.

    Args:
        layer: The layer.
        inputs: Number of its input channels.
        outputs: Number of its output channels.
    """

    def __init__(self, layer: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = layer
        self.inputs = _Followings(inputs)
        self.outputs = _Followings(outputs)
        self._in_use: Selected = (None, None)

    def follow(self, gate: TrainingGate, member: Member) -> None:
        """Let a gate select among the channels that the site's ``member``, this layer, holds."""
        (self.inputs if member.reads else self.outputs).add(gate, member)

    def selections(self) -> Iterator[tuple[torch.Tensor, Selected]]:
        """Yield the parameters with what the last forward pass in training used of them."""
        for parameter in self.layer.parameters():
            yield parameter, self._in_use[: min(parameter.ndim, 2)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs in use, from the inputs in use; all of them in evaluation."""
        outputs = inputs = None
        if self.training:
            self._in_use = outputs, inputs = self.outputs.positions(), self.inputs.positions()
        if outputs is None and inputs is None:
            result: torch.Tensor = self.layer(x)
            return result
        return self._run(x, outputs, inputs)

    def _run(self, x: torch.Tensor, outputs: torch.Tensor | None, inputs: torch.Tensor | None) -> torch.Tensor:
        raise NotImplementedError


class LiveConv(SlicedLayer):
    """A convolution, ``[N, k_in, H, W] -> [N, k_out, H', W']``; a depthwise one has outputs only."""

    layer: nn.Conv2d

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv, conv.in_channels, conv.out_channels)

    def _run(self, x: torch.Tensor, outputs: torch.Tensor | None, inputs: torch.Tensor | None) -> torch.Tensor:
        conv = self.layer
        weight, bias = _pick(conv.weight, outputs, inputs), _pick(conv.bias, outputs)
        assert weight is not None  # noqa: S101 - a convolution has one
        groups = 1 if conv.groups == 1 else len(weight)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, groups)


class LiveLinear(SlicedLayer):
    """A linear layer, ``[N, k_in] -> [N, k_out]``."""

    layer: nn.Linear

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear, linear.in_features, linear.out_features)

    def _run(self, x: torch.Tensor, outputs: torch.Tensor | None, inputs: torch.Tensor | None) -> torch.Tensor:
        weight = _pick(self.layer.weight, outputs, inputs)
        assert weight is not None  # noqa: S101 - a linear layer has one
        return F.linear(x, weight, _pick(self.layer.bias, outputs))


class LiveNorm(SlicedLayer):
    """A batch normalisation, ``[N, k, H, W]``; running statistics of the other channels stay as they are."""

    layer: nn.BatchNorm2d

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm, norm.num_features, norm.num_features)

    def _run(self, x: torch.Tensor, outputs: torch.Tensor | None, inputs: torch.Tensor | None) -> torch.Tensor:
        norm = self.layer
        weight, bias = _pick(norm.weight, outputs), _pick(norm.bias, outputs)
        momentum = _MOMENTUM if norm.momentum is None else norm.momentum
        if norm.running_mean is None or norm.running_var is None:
            return F.batch_norm(x, None, None, weight, bias, True, momentum, norm.eps)
        mean, var = norm.running_mean[outputs], norm.running_var[outputs]
        x = F.batch_norm(x, mean, var, weight, bias, True, momentum, norm.eps)
        norm.running_mean[outputs], norm.running_var[outputs] = mean, var
        return x


def _pick(parameter: torch.Tensor | None, *positions: torch.Tensor | None) -> torch.Tensor | None:
    """Return the part of ``parameter`` at ``positions`` in each of its first dimensions."""
    for dimension, where in enumerate(positions):
        if parameter is not None and where is not None:
            parameter = parameter.index_select(dimension, where)
    return parameter


def live_layers(network: Network, gates: Mapping[str, TrainingGate]) -> dict[str, nn.Module]:
    """Return, by path, what takes the place of the layers that hold channels of a gate that slices."""
    paths = {node.name: str(node.target) for node in network.graph.nodes}
    live: dict[str, SlicedLayer] = {}
    for site, gate in gates.items():
        for member in network.members(site) if gate.slices else ():
            path = paths[member.node]
            if path not in live:
                live[path] = _live(network.model.get_submodule(path))
            live[path].follow(gate, member)
    return dict(live)


def _live(layer: nn.Module) -> SlicedLayer:
    if isinstance(layer, nn.Conv2d):
        return LiveConv(layer)
    if isinstance(layer, nn.Linear):
        return LiveLinear(layer)
    assert isinstance(layer, nn.BatchNorm2d)  # noqa: S101 - sites have no other members
    return LiveNorm(layer)


def selections(form: nn.Module) -> dict[torch.Tensor, Selected]:
    """Return the parameters of ``form`` of which only a part is in use in this step, with that part."""
    found: dict[torch.Tensor, Selected] = {}
    for module in form.modules():
        if isinstance(module, SlicedLayer):
            found.update((p, part) for p, part in module.selections() if any(index is not None for index in part))
    return found
