"""What inputs a network takes."""

from __future__ import annotations

from torch import nn

# Of images, which are in colour or grey.
_USUAL = (3, 1)


def input_channels(module: nn.Module) -> int:
    """Return the number of channels that a network takes: those of its first convolution; 3 without any."""
    return possible_channels(module)[0]


def possible_channels(module: nn.Module) -> list[int]:
    """Return how many channels an input may have, the likeliest first: any convolution can come first in definition."""
    read = [part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)]
    return [*dict.fromkeys([*read[:1], *(channels for channels in _USUAL if channels in read)])] or [3]
