"""Layers that run, in training, on the channels that gates have selected for the step, and on no other.

Their tensors are physically smaller. The weights stay whole, so that what is not selected keeps its value.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates import TrainingGate

# Of a cumulative average, which partial updates cannot keep.
_MOMENTUM = 0.1

Selected = tuple[torch.Tensor | None, ...]
"""Per dimension of a parameter, the positions in use, int64; None for all."""


class LiveConv(nn.Module):
    """A convolution whose inputs, outputs or both are selected by gates; depthwise ones by a single gate."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self._inputs: tuple[TrainingGate, ...] = ()
        self._outputs: tuple[TrainingGate, ...] = ()

    def follow(self, *, inputs: TrainingGate | None = None, outputs: TrainingGate | None = None) -> None:
        """Let gates select channels."""
        # In tuples, so that the gates do not become parts of the layer.
        self._inputs = self._inputs if inputs is None else (inputs,)
        self._outputs = self._outputs if outputs is None else (outputs,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the selected outputs, ``[N, k_in, H, W] -> [N, k_out, H', W']``."""
        conv, (outputs, inputs) = self.conv, self._selected()
        if not self.training or (outputs is None and inputs is None):
            result: torch.Tensor = conv(x)
            return result
        weight, bias, groups = conv.weight, conv.bias, conv.groups
        if outputs is not None:
            weight = weight.index_select(0, outputs)
            bias = None if bias is None else bias.index_select(0, outputs)
        if inputs is not None:
            weight = weight.index_select(1, inputs)
        groups = 1 if conv.groups == 1 else len(weight)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, groups)

    def selections(self) -> Iterator[tuple[torch.Tensor, Selected]]:
        """Yield the parameters with what is in use of them."""
        outputs, inputs = self._selected()
        yield self.conv.weight, (outputs, inputs)
        if self.conv.bias is not None:
            yield self.conv.bias, (outputs,)

    def _selected(self) -> Selected:
        outputs, inputs = (gates[0].selected if gates else None for gates in (self._outputs, self._inputs))
        return outputs, None if self.conv.groups > 1 else inputs


class LiveNorm(nn.Module):
    """A batch normalisation of the channels that a gate has selected."""

    def __init__(self, norm: nn.BatchNorm2d, gate: TrainingGate) -> None:
        super().__init__()
        self.norm = norm
        self._gate = (gate,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``[N, k, H, W]``; running statistics of the other channels stay as they are."""
        norm, selected = self.norm, self._gate[0].selected
        if not self.training or selected is None:
            result: torch.Tensor = norm(x)
            return result
        weight, bias = (None if p is None else p.index_select(0, selected) for p in (norm.weight, norm.bias))
        momentum = _MOMENTUM if norm.momentum is None else norm.momentum
        if norm.running_mean is None or norm.running_var is None:
            return F.batch_norm(x, None, None, weight, bias, True, momentum, norm.eps)
        mean, var = norm.running_mean[selected], norm.running_var[selected]
        x = F.batch_norm(x, mean, var, weight, bias, True, momentum, norm.eps)
        norm.running_mean[selected], norm.running_var[selected] = mean, var
        return x

    def selections(self) -> Iterator[tuple[torch.Tensor, Selected]]:
        """Yield the parameters with what is in use of them."""
        for parameter in self.norm.parameters():
            yield parameter, (self._gate[0].selected,)


def selections(form: nn.Module) -> dict[torch.Tensor, Selected]:
    """Return the parameters of ``form`` of which only a part is in use in this step, with that part."""
    found: dict[torch.Tensor, Selected] = {}
    for module in form.modules():
        if isinstance(module, LiveConv | LiveNorm):
            found.update((p, part) for p, part in module.selections() if any(index is not None for index in part))
    return found
