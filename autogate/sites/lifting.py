"""Turn functions that have weights into the layers they stand for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autogate.sites.assembling import assemble, attribute
from autogate.sites.known_shapes import KnownShapes, _UnknownValueError

_CONV_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_LINEAR_ARGUMENTS = ("input", "weight", "bias")
_NORM_ARGUMENTS = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


def lift_layers(part: nn.Module, graph: fx.Graph, shapes: KnownShapes) -> nn.Module | None:
    """Return a module that runs ``graph`` with layers instead of functions; None if a function has no such layer.

    Args:
        part: A layer of a subclass, whose parameters and buffers are shared.
        graph: Its graph in evaluation; it is changed.
        shapes: What is known of the sizes in it.
    """
    fed = _fed(graph)
    layers: dict[str, nn.Module] = {}
    for node in list(graph.nodes):
        lift = _LIFTS.get(node.target) if node.op == "call_function" and node in fed else None
        if lift is None:
            continue
        name, order, make = lift
        given = dict(zip(order, node.args, strict=False)) | dict(node.kwargs)
        if any(isinstance(value, fx.Node) and value in fed for key, value in given.items() if key != "input"):
            return None
        constants = {key: _constant(part, value) for key, value in given.items() if key != "input"}
        layer = make(part, constants)
        if layer is None:
            return None
        while name in layers or hasattr(part, name):
            name += "_"
        layers[name] = layer.train(part.training)
        with graph.inserting_before(node):
            call = graph.call_module(name, (given["input"],))
        node.replace_all_uses_with(call)
        graph.erase_node(node)
    if not layers:
        return None
    _fold_padding(graph, layers, shapes)
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    return _chain(part, graph, layers) or assemble(part, graph, layers)


def _chain(part: nn.Module, graph: fx.Graph, layers: dict[str, nn.Module]) -> nn.Module | None:
    """Return layers that follow one another as what they are, or None if the graph has another form."""
    chain: OrderedDict[str, nn.Module] = OrderedDict()
    before, *nodes, output = graph.nodes
    for node in nodes:
        target = str(node.target)
        if node.op != "call_module" or node.args != (before,) or node.kwargs or "." in target or target in chain:
            return None
        chain[target] = layers[target] if target in layers else part.get_submodule(target)
        before = node
    if output.args[0] is not before:
        return None
    chain = OrderedDict((name, layer) for name, layer in chain.items() if type(layer) is not nn.Identity)
    return next(iter(chain.values())) if len(chain) == 1 else nn.Sequential(chain)


def _fed(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that depend on the input."""
    fed: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or any(source in fed for source in node.all_input_nodes):
            fed.add(node)
    return fed


def _constant(part: nn.Module, value: Any) -> Any:
    """Return an argument that does not depend on the input: a parameter itself, or a tensor computed from some."""
    if not isinstance(value, fx.Node):
        return value
    if value.op == "get_attr":
        return attribute(part, str(value.target))
    with torch.no_grad():
        return _computed(part, value)


def _computed(part: nn.Module, node: fx.Node) -> Any:
    if node.op == "get_attr":
        return attribute(part, str(node.target))
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: _computed(part, source))
    if node.op == "call_function":
        assert callable(node.target)  # noqa: S101 - that is what the op says
        return node.target(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return part.get_submodule(str(node.target))(*args, **kwargs)


def _parameter(tensor: Tensor | None) -> nn.Parameter | None:
    if tensor is None or isinstance(tensor, nn.Parameter):
        return tensor
    return nn.Parameter(tensor.detach().clone())


def _conv(_: nn.Module, given: dict[str, Any]) -> nn.Conv2d:
    weight, bias = _parameter(given["weight"]), _parameter(given.get("bias"))
    assert weight is not None  # noqa: S101 - no convolution is without
    groups = int(given.get("groups", 1))
    padding = given.get("padding", 0)
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        _pair(given.get("stride", 1)),
        padding if isinstance(padding, str) else _pair(padding),
        _pair(given.get("dilation", 1)),
        groups,
        bias is not None,
        device="meta",
    )
    conv.weight, conv.bias = weight, bias
    return conv


def _linear(_: nn.Module, given: dict[str, Any]) -> nn.Linear:
    weight, bias = _parameter(given["weight"]), _parameter(given.get("bias"))
    assert weight is not None  # noqa: S101 - no linear layer is without
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight, linear.bias = weight, bias  # type: ignore[assignment]
    return linear


def _norm(part: nn.Module, given: dict[str, Any]) -> nn.Module | None:
    """Return a normalisation with the tensors of ``part``, which alone knows how statistics are kept."""
    if not isinstance(part, nn.BatchNorm2d) or given.get("running_mean") is not part.running_mean:
        return None
    norm = nn.BatchNorm2d(
        part.num_features, part.eps, part.momentum, part.affine, part.track_running_stats, device="meta"
    )
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(norm, name, getattr(part, name))
    return norm


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else (value * 2 if len(value) == 1 else value)
    return int(first), int(second)


_LIFTS: dict[Any, tuple[str, tuple[str, ...], Callable[[nn.Module, dict[str, Any]], nn.Module | None]]] = {
    F.conv2d: ("conv", _CONV_ARGUMENTS, _conv),
    F.linear: ("linear", _LINEAR_ARGUMENTS, _linear),
    F.batch_norm: ("norm", _NORM_ARGUMENTS, _norm),
}


def _fold_padding(graph: fx.Graph, layers: dict[str, nn.Module], shapes: KnownShapes) -> None:
    """Let convolutions pad with zeros themselves, as far as they can: alike on opposite sides."""
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not F.pad:
            continue
        given = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | dict(node.kwargs)
        try:
            pads: list[Any] = [shapes.value(pad) if isinstance(pad, fx.Node) else pad for pad in given["pad"]]
        except _UnknownValueError:
            continue
        node.args, node.kwargs = (given["input"], pads, given.get("mode", "constant"), given.get("value")), {}
        users = list(node.users)
        conv = layers.get(str(users[0].target)) if len(users) == 1 else None
        if not isinstance(conv, nn.Conv2d) or isinstance(conv.padding, str) or len(pads) != 4:
            continue
        left, right, top, bottom = pads
        zeros = given.get("mode", "constant") == "constant" and not given.get("value")
        if zeros and left == right and top == bottom and conv.padding == (0, 0):
            same = {key: getattr(conv, key) for key in ("weight", "bias", "stride", "dilation", "groups")}
            layers[str(users[0].target)] = _conv(conv, {**same, "padding": (int(top), int(left))}).train(conv.training)
            node.replace_all_uses_with(given["input"])
            graph.erase_node(node)
