"""Layers whose channels are selected while the network runs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class SelectedConv(nn.Module):
    """Computes only the output channels ``outputs`` from an input that holds only the channels ``inputs``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    @classmethod
    def around(cls, module: nn.Module) -> SelectedConv:
        """Return ``module`` if it selects already, else wrap it."""
        if isinstance(module, cls):
            return module
        assert isinstance(module, nn.Conv2d)  # noqa: S101 - canonical policies ask for nothing else
        return cls(module)

    def forward(
        self,
        x: torch.Tensor,
        inputs: torch.Tensor | None = None,
        factor: torch.Tensor | None = None,
        outputs: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the selected outputs, ``[N, k_in, H, W] -> [N, k_out, H', W']``.

        Args:
            x: The input, with only the channels ``inputs``.
            inputs: Input channels present in ``x``, int64 ``[k_in]``; all if None.
            factor: Factor of each image's input channels, ``[N, k_in]``.
            outputs: Output channels to compute, int64 ``[k_out]``; all if None.
        """
        conv = self.conv
        weight, bias = conv.weight, conv.bias
        if outputs is not None:
            weight = weight.index_select(0, outputs)
            bias = None if bias is None else bias.index_select(0, outputs)
        if inputs is not None:
            weight = weight.index_select(1, inputs)
        if factor is not None:
            x = x * factor[:, :, None, None]
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation)


def pick_index(choice: Any) -> Any:
    """Return the channels of a selector's ``(channels, factors)``."""
    return choice[0]


def pick_factor(choice: Any) -> Any:
    """Return the factors of a selector's ``(channels, factors)``."""
    return choice[1]
