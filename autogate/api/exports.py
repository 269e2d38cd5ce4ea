"""Networks from exported directories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def load(path: str | Path, *, model: nn.Module | None = None) -> nn.Module:
    """Return the network of an export: compact, with its trained weights, in evaluation mode, on the CPU.

    Args:
        path: Directory written by :func:`autogate.export`.
        model: The dense network, if it cannot be built by name.

    Raises:
        ExportError: If the directory is no export, or damaged.

    Example:
        >>> network = autogate.load("out/")
        >>> scores = network(images)  # [N, classes]
    """
    from autogate.exporters import load_export

    return load_export(Path(path), model).gated.cpu().eval()
