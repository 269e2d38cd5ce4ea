"""``eager``: operator by operator, as PyTorch runs a module."""

from __future__ import annotations

import torch
from torch import nn

from autogate.runtimes.registry import register_runtime
from autogate.runtimes.runtime import Runnable, Runtime


@register_runtime
class Eager(Runtime):
    """Run the module itself."""

    name = "eager"
    needs_eager_units = False

    def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
        """Return the module."""
        return module
