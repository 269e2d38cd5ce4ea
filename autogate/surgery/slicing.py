"""Layers whose channels are selected while the network runs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates import layout_of


class SelectedConv(nn.Module):
    """Computes only the groups of output channels ``outputs`` from an input with only the groups ``inputs``.

    A kernel of one cell that reads a selection is a product with weights that lie by input channel: gathering them
    copies whole rows.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self.stride = conv.stride
        self.padding = conv.padding
        self.dilation = conv.dilation
        self.is_pointwise = (conv.kernel_size, conv.stride, conv.padding) == ((1, 1), (1, 1), (0, 0))
        self.reads = 1
        self.writes = 1
        self.by_input = False

    @classmethod
    def around(cls, module: nn.Module) -> SelectedConv:
        """Return ``module`` if it selects already, else wrap it."""
        if isinstance(module, cls):
            return module
        assert isinstance(module, nn.Conv2d)  # noqa: S101 - canonical policies ask for nothing else
        return cls(module)

    def writes_groups_of(self, granularity: int) -> SelectedConv:
        """Select outputs in groups of so many channels."""
        self.writes = granularity
        return self

    def reads_groups_of(self, granularity: int) -> SelectedConv:
        """Select inputs in groups of so many channels."""
        self.reads = granularity
        if self.is_pointwise and not self.by_input:
            self.by_input = True
            self.weight = nn.Parameter(self.weight.detach().transpose(0, 1).contiguous())
        return self

    def forward(
        self,
        x: torch.Tensor,
        inputs: torch.Tensor | None = None,
        factor: torch.Tensor | None = None,
        outputs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the selected outputs, ``[N, k_in, H, W] -> [N, k_out, H', W']``.

        Args:
            x: The input, with only the channels of the groups ``inputs``.
            inputs: Groups of input channels present in ``x``, int64; all if None.
            factor: Factor of each image's groups of input channels, ``[N, groups]``.
            outputs: Groups of output channels to compute, int64; all if None.
        """
        weight, bias = self.weight, self.bias
        reads, writes = (0, 1) if self.by_input else (1, 0)
        if inputs is not None and self.by_input:
            weight = _pick(weight, reads, inputs, self.reads)
        if outputs is not None:
            weight = _pick(weight, writes, outputs, self.writes)
            bias = None if bias is None else _pick(bias, 0, outputs, self.writes)
        if inputs is not None and not self.by_input:
            weight = _pick(weight, reads, inputs, self.reads)
        if factor is not None:
            of_channels = factor if self.reads == 1 else factor.repeat_interleave(self.reads, dim=1)
            x = x * of_channels[:, :, None, None]
        if not self.by_input:
            return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)
        product = torch.matmul(weight.flatten(1).t(), x.flatten(2)).view(len(x), -1, *x.shape[2:])
        product = product if bias is None else product + bias.view(1, -1, 1, 1)
        return product.contiguous(memory_format=layout_of(x))


def _pick(weight: torch.Tensor, dimension: int, groups: torch.Tensor, granularity: int) -> torch.Tensor:
    """Return the part of a weight that belongs to groups of neighbouring channels, int64 ``[k]``."""
    if granularity == 1:
        return weight.index_select(dimension, groups)
    before, behind = weight.shape[:dimension], weight.shape[dimension + 1 :]
    picked = weight.view(*before, -1, granularity, *behind).index_select(dimension, groups)
    return picked.flatten(dimension, dimension + 1)


def pick_index(choice: Any) -> Any:
    """Return the channels of a selector's ``(channels, factors)``."""
    return choice[0]


def pick_factor(choice: Any) -> Any:
    """Return the factors of a selector's ``(channels, factors)``."""
    return choice[1]
