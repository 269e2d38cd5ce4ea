"""Gates decide in float32, whatever the network around them runs in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def in_float32(run: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``run(*arguments)``; under autocast, computed in float32 on tensors made float32.

    Args:
        run: A module or function.
        *arguments: Tensors, the first of which says on which device it runs, and other values.
    """
    device = next((argument.device.type for argument in arguments if isinstance(argument, torch.Tensor)), "cpu")
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return run(*arguments)
    with torch.autocast(device, enabled=False):
        return run(*(_widened(argument) for argument in arguments))


def _widened(argument: Any) -> Any:
    is_low = isinstance(argument, torch.Tensor) and argument.is_floating_point()
    return argument.float() if is_low else argument
