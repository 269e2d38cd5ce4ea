"""Rewrite operations in place, so that a gate may hand on a tensor that others still read.

What an operation in place changes is read under its old name afterwards. A graph knows no such thing: whoever reads the
old tensor later is made to read the result.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

_FUNCTIONAL: dict[type[nn.Module], Callable[..., Any]] = {
    nn.ReLU: F.relu,
    nn.ReLU6: F.relu6,
    nn.SiLU: F.silu,
    nn.Mish: F.mish,
    nn.Hardswish: F.hardswish,
    nn.Hardsigmoid: F.hardsigmoid,
}
_OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
# Methods that mean something else without their last underscore.
_ONLY_IN_PLACE = ("bernoulli_", "resize_")


class InPlaceProxy(fx.Proxy):
    """Keeps ``a += b`` apart from ``a = a + b`` in a trace: other names of ``a`` see the first, but not the second."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.itruediv, other)

    def _in_place(self, function: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})


def make_out_of_place(graph: fx.Graph, model: nn.Module) -> None:
    """Replace operations in place, and let later readers of what they overwrite read their results.

    Only tensors, which have their shape recorded, are overwritten; ``n += 1`` makes another number. An operation that
    exists only in place stays as it is.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if not _overwrites(node, model) or changes_state(node):
            continue
        overwritten = node.all_input_nodes[0]
        _rewrite(node, model)
        if "shape" not in overwritten.meta:
            continue
        for user in list(overwritten.users):
            if order[user] > order[node]:
                user.replace_input_with(overwritten, node)


def changes_state(node: fx.Node) -> bool:
    """Whether the node writes into a parameter or buffer; it is needed even if nobody reads its result."""
    return _named_in_place(node) and bool(node.all_input_nodes) and node.all_input_nodes[0].op == "get_attr"


def drop_unread(graph: fx.Graph, kept: fx.Node | None = None) -> None:
    """Remove what nobody reads, such as sizes that were unpacked and never used: it would pass for a reader.

    Args:
        graph: The graph, which is changed.
        kept: A node that stays although nobody reads it.
    """
    graph.eliminate_dead_code(
        is_impure_node=lambda node: node is kept or node.op in ("placeholder", "output") or _named_in_place(node)
    )


def _overwrites(node: fx.Node, model: nn.Module) -> bool:
    if not node.all_input_nodes:
        return False
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return getattr(module, "inplace", False) is True and type(module).__module__.startswith("torch.nn.")
    return _named_in_place(node) or _flag(node) is not None


def _named_in_place(node: fx.Node) -> bool:
    if node.op == "call_function" and node.target in _OPERATORS:
        return True
    return node.op in ("call_method", "call_function") and _name(node).endswith("_") and not _name(node).endswith("__")


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _flag(node: fx.Node) -> str | int | None:
    """Return where a function's ``inplace=True`` is among its arguments, or None if it is not there."""
    if node.op != "call_function" or not callable(node.target):
        return None
    if node.kwargs.get("inplace") is True:
        return "inplace"
    try:
        names = list(inspect.signature(node.target).parameters)
    except (TypeError, ValueError):  # built in
        return None
    at = names.index("inplace") if "inplace" in names else len(node.args)
    return at if at < len(node.args) and node.args[at] is True else None


def _rewrite(node: fx.Node, model: nn.Module) -> None:
    flag, name = _flag(node), _name(node)
    if node.op == "call_module":
        functional = _FUNCTIONAL.get(type(model.get_submodule(name)))
        if functional is not None:
            node.op, node.target = "call_function", functional
    elif isinstance(flag, int):
        node.update_arg(flag, False)
    elif flag is not None:
        node.update_kwarg(flag, False)
    elif node.op == "call_method":
        if name not in _ONLY_IN_PLACE and callable(getattr(torch.Tensor, name[:-1], None)):
            node.target = name[:-1]
    elif node.target in _OPERATORS:
        node.target = _OPERATORS[node.target]
    else:
        node.target = getattr(torch, name[:-1], None) or getattr(F, name[:-1], None) or node.target
