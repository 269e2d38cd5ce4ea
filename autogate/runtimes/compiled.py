"""``compiled``: by Inductor, through ``torch.compile``."""

from __future__ import annotations

import torch
from torch import nn

from autogate.runtimes.registry import register_runtime
from autogate.runtimes.runtime import Runnable, Runtime


@register_runtime
class Compiled(Runtime):
    """Run what Inductor makes of the module.

    Inductor fuses operators across units, so that a latency composed of units says nothing of it.
    """

    name = "compiled"
    profiles_networks = False

    def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
        """Compile the module for this shape; one pass does it."""
        run: Runnable = torch.compile(module, dynamic=False)
        run(example)
        return run
