"""``pt2``: the network as a program of ``torch.export``, which runs without AutoGate."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import fx, nn

from autogate.errors import ExportError
from autogate.exporters.exporter import Deliverable, Exporter, Loaded, varying_gate
from autogate.exporters.registry import register_exporter
from autogate.policy import Policy
from autogate.surgery import decides_on_data
from autogate.system import one_line

PROGRAM_FILE = "model.pt2"


@register_exporter
class Pt2(Exporter):
    """Write ``model.pt2``.

    Static policies leave an ordinary network, whose batch can stay free; gates that choose per image are exported for
    the batch size they were searched at.
    """

    name = "pt2"
    files = (PROGRAM_FILE,)
    runtimes = ("eager", "cuda_graph")

    def unsupported_reason(self, policy: Policy, batch_size: int) -> str | None:
        """A program has no branches of its own for each image of a batch."""
        varying = varying_gate(policy)
        if varying is None or batch_size == 1:
            return None
        return f"{varying} decides per image, which a program of batch {batch_size} cannot; search with --batch-size 1"

    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        """Write the program, and say which batch sizes it takes."""
        any_batch = not decides_on_data(item.policy)
        content = program_of(item.compact, item.batch(0, 2 if any_batch else item.batch_size), any_batch)
        (folder / PROGRAM_FILE).write_bytes(content)
        return {"batch": "any" if any_batch else item.batch_size}

    def load(self, folder: Path) -> Loaded:
        """Load the program as a module."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cast(Loaded, torch.export.load(str(folder / PROGRAM_FILE)).module())


def program_of(compact: nn.Module, example: torch.Tensor, any_batch: bool) -> bytes:
    """Return the content of a ``.pt2`` file.

    Args:
        compact: The network, in evaluation mode.
        example: An input batch, ``[N, C, H, W]``.
        any_batch: Whether the program is to take batches of any size, not of ``N`` only; ``N`` is then at least 2.

    Raises:
        ExportError: If the network cannot be expressed.
    """
    shapes = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(compact, (example,), dynamic_shapes=shapes, strict=False)
            _name_types(program)
            content = io.BytesIO()
            torch.export.save(program, content)
    except Exception as error:  # torch.export raises many kinds; all mean that this network cannot be exported
        raise ExportError(f"torch.export refuses this network: {one_line(error)}") from error
    return content.getvalue()


def _name_types(program: torch.export.ExportedProgram) -> None:
    """Write module types as names into the program's metadata.

    The exporter leaves types in the branches of ``torch.cond``, and cannot save them (torch 2.15).
    """
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            stack = node.meta.get("nn_module_stack", {})
            for key, (path, kind) in stack.items():
                if isinstance(kind, type):
                    stack[key] = (path, f"{kind.__module__}.{kind.__qualname__}")
