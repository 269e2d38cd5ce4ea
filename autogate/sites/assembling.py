"""Put a graph and the modules it calls together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn


def assemble(model: nn.Module, graph: fx.Graph, extra: Mapping[str, nn.Module]) -> fx.GraphModule:
    """Return a module that runs ``graph`` on the modules of ``model`` and ``extra``, shared by reference."""
    root: dict[str, Any] = {}
    for node in graph.nodes:
        target = str(node.target)
        if node.op == "call_module":
            root[target] = extra[target] if target in extra else model.get_submodule(target)
        elif node.op == "get_attr":
            root[target] = attribute(model, target)
    form = fx.GraphModule(root, graph, class_name=type(model).__name__)
    form.train(model.training)
    return form


def attribute(model: nn.Module, path: str) -> Any:
    """Return what stands at a dotted path in ``model``."""
    value: Any = model
    for part in path.split("."):
        value = getattr(value, part)
    return value
