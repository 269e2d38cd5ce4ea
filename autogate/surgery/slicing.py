"""Layers with fewer channels: cut out for good, or selected while the network runs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def width(module: nn.Module, inputs: bool) -> int:
    """Return how many channels a layer reads, or writes."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels if inputs else module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features if inputs else module.out_features
    assert isinstance(module, nn.BatchNorm2d)  # noqa: S101 - sites have no other members
    return module.num_features


def slice_channels(
    module: nn.Module, inputs: torch.Tensor | None = None, outputs: torch.Tensor | None = None
) -> nn.Module:
    """Return a copy of a layer with only the named channels, int64 ``[k]`` each."""
    if isinstance(module, nn.Linear):
        weight = module.weight.detach() if inputs is None else module.weight.detach()[:, inputs]
        linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear,
            weight.shape[1],
            weight.shape[0],
            module.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        linear.weight.data = weight.clone()
        if module.bias is not None:
            linear.bias.data = module.bias.detach().clone()
        return linear
    if isinstance(module, nn.BatchNorm2d):
        assert outputs is not None  # noqa: S101 - a normalisation has one set of channels
        norm = nn.BatchNorm2d(
            len(outputs),
            eps=module.eps,
            momentum=module.momentum,
            affine=module.affine,
            track_running_stats=module.track_running_stats,
        ).eval()
        norm.load_state_dict({k: v[outputs] if v.ndim else v for k, v in module.state_dict().items()})
        return norm
    assert isinstance(module, nn.Conv2d)  # noqa: S101 - nothing else is sliced
    weight, bias, groups = module.weight.detach(), module.bias, module.groups
    if groups > 1:
        assert outputs is not None  # noqa: S101 - a depthwise convolution keeps its channels together
        groups = len(outputs)
        inputs = None
    if outputs is not None:
        weight = weight[outputs]
        bias = None if bias is None else bias[outputs]
    if inputs is not None:
        weight = weight[:, inputs]
    conv: nn.Conv2d = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d,
        weight.shape[1] * groups,
        weight.shape[0],
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        groups,
        bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    conv.weight.data = weight.clone()
    if conv.bias is not None and bias is not None:
        conv.bias.data = bias.detach().clone()
    return conv


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
