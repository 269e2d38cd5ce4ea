"""What inputs a network takes."""

from __future__ import annotations

from torch import nn


def input_channels(module: nn.Module) -> int:
    """Return the number of channels that a network takes: those of its first convolution; 3 without any."""
    return next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), 3)
