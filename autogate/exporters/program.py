"""A network as a program that runs without AutoGate."""

from __future__ import annotations

import io
import warnings

import torch
from torch import fx, nn

from autogate.errors import ExportError


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
        raise ExportError(f"torch.export refuses this network: {' '.join(str(error).split())[:200]}") from error
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
