"""``torchscript``: the network as a file of TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from autogate.exporters import Deliverable, Exporter, Loaded, register_exporter


@register_exporter
class TorchScript(Exporter):
    """Write ``model.ts``."""

    name = "torchscript"
    files = ("model.ts",)

    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        """Trace the network and save it."""
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            example = item.batch(0, item.batch_size)
            torch.jit.save(torch.jit.trace(item.compact, (example,), check_trace=False), str(folder / "model.ts"))
        return {"batch": item.batch_size}

    def load(self, folder: Path) -> Loaded:
        """Load it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(str(folder / "model.ts"))
