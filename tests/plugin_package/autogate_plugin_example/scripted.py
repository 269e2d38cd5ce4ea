"""``scripted``: the network as TorchScript, traced for the example."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from autogate.runtimes import Runnable, Runtime, register_runtime


@register_runtime
class Scripted(Runtime):
    """Run what ``torch.jit.trace`` makes of a network."""

    name = "scripted"
    dtypes = frozenset({"float32"})

    def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
        """Trace the module."""
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.jit.trace(module, (example,), check_trace=False)

    def versions(self) -> dict[str, str]:
        """The version of the package decides what runs."""
        return {"autogate-plugin-example": "1.2"}
