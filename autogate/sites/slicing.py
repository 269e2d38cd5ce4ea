"""Layers with fewer channels, cut out for good."""

from __future__ import annotations

import torch
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
        like = next((tensor for tensor in module.state_dict().values()), torch.empty(0))
        norm = nn.BatchNorm2d(
            len(outputs),
            eps=module.eps,
            momentum=module.momentum,
            affine=module.affine,
            track_running_stats=module.track_running_stats,
            device=like.device,
            dtype=like.dtype,
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
