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
    tensors = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
    if not tensors or not torch.is_autocast_enabled(tensors[0].device.type):
        return run(*arguments)
    with torch.autocast(tensors[0].device.type, enabled=False):
        return run(*(_widened(argument) for argument in arguments))


def _widened(argument: Any) -> Any:
    is_low = isinstance(argument, torch.Tensor) and argument.is_floating_point()
    return argument.float() if is_low else argument
