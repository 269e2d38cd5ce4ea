"""Questions about fx graphs that finding sites and placing gates both ask."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from autogate.records import ConvSpec
from autogate.sites.layers import is_exact_layer, is_one_of

_ADDS: set[Callable[..., Any]] = {operator.add, torch.add}
# Activations for which act(act(x)) == act(x), so that one of two in a row can go.
_IDEMPOTENT_MODULES = (nn.ReLU, nn.ReLU6)
_IDEMPOTENT_FUNCTIONS: set[Callable[..., Any]] = {F.relu, F.relu6, torch.relu, torch.relu_}
_ACTIVATION_MODULES = (
    *_IDEMPOTENT_MODULES,
    nn.SiLU,
    nn.GELU,
    nn.Hardswish,
    nn.LeakyReLU,
    nn.ELU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
)
_ACTIVATION_FUNCTIONS: set[Callable[..., Any]] = _IDEMPOTENT_FUNCTIONS | {
    F.silu,
    F.gelu,
    F.hardswish,
    F.leaky_relu,
    F.mish,
}
# Modules that treat every channel separately and have no per-channel weights.
_CHANNELWISE_MODULES = (
    *_ACTIVATION_MODULES,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.Identity,
)
_CHANNELWISE_FUNCTIONS: set[Callable[..., Any]] = _ACTIVATION_FUNCTIONS | {
    F.max_pool2d,
    F.avg_pool2d,
    F.dropout,
}


TIED = "tied"
"""Key in a node's ``meta`` with the path of another layer that has the same weights."""


def module_of(node: fx.Node, model: nn.Module) -> nn.Module | None:
    """Return the module the node calls, or None for any other node."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def with_ancestors(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return nodes and all that they read, directly or not."""
    found: set[fx.Node] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += node.all_input_nodes
    return found


def layer_text(module: nn.Module) -> str:
    """Return what a layer is, in words that do not depend on the version of PyTorch: others read them again."""
    # Before 2.15, normalisations did not say that what is affine has a bias.
    return re.sub(r"(affine=(True|False))(?!, bias=)", r"\1, bias=\2", repr(module))


def is_add(node: fx.Node) -> bool:
    """Whether the node adds two tensors, neither of them scaled."""
    adds = (node.op == "call_function" and node.target in _ADDS) or (node.op == "call_method" and node.target == "add")
    return adds and len(node.all_input_nodes) == 2 and node.kwargs.get("alpha", 1) in (1,) and "out" not in node.kwargs


def is_activation(node: fx.Node, model: nn.Module) -> bool:
    """Whether the node is an elementwise activation."""
    if node.op == "call_function":
        return node.target in _ACTIVATION_FUNCTIONS
    if node.op == "call_method":
        return node.target in ("relu", "relu_")
    return is_one_of(module_of(node, model), _ACTIVATION_MODULES)


def activation_key(node: fx.Node, model: nn.Module) -> str | None:
    """Return a name shared by equal activations that change nothing when applied twice, else None."""
    module = module_of(node, model)
    if is_one_of(module, _IDEMPOTENT_MODULES):
        return "relu6" if isinstance(module, nn.ReLU6) else "relu"
    if node.op == "call_function" and node.target in _IDEMPOTENT_FUNCTIONS:
        return "relu6" if node.target is F.relu6 else "relu"
    if node.op == "call_method" and node.target in ("relu", "relu_"):
        return "relu"
    return None


def conv_of(node: fx.Node, model: nn.Module) -> nn.Conv2d | None:
    """Return the plain zero-padded convolution the node calls, if its weights are used by this node alone."""
    module = module_of(node, model)
    if not is_exact_layer(module, nn.Conv2d) or module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    return None if _is_called_again(node) else module


def mark_tied(graph: fx.Graph, model: nn.Module) -> None:
    """Note at each layer which other one has the same weights, so that none of them passes for one that has its own."""
    holders: dict[int, dict[str, fx.Node]] = {}
    for node in graph.nodes:
        module = module_of(node, model)
        for parameter in () if module is None else module.parameters():
            holders.setdefault(id(parameter), {})[str(node.target)] = node
    for tied in holders.values():
        for path, node in tied.items() if len(tied) > 1 else ():
            node.meta[TIED] = next(other for other in tied if other != path)


def _is_called_again(node: fx.Node) -> bool:
    return TIED in node.meta or any(
        other.op == "call_module" and other.target == node.target for other in node.graph.nodes if other != node
    )


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Whether every channel has a separate filter and nothing mixes channels."""
    return conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1


def keeps_channels_apart(node: fx.Node, model: nn.Module) -> bool:
    """Whether the node maps each channel of one tensor to the same channel of its result, with weights per channel."""
    if node.op == "call_function":
        return node.target in _CHANNELWISE_FUNCTIONS or _pads_with_zeros(node)
    module = module_of(node, model)
    if isinstance(module, nn.Conv2d):
        return is_depthwise(module) and conv_of(node, model) is not None
    if is_exact_layer(module, nn.BatchNorm2d):
        return not _is_called_again(node)
    return is_activation(node, model) or is_one_of(module, _CHANNELWISE_MODULES)


def _pads_with_zeros(node: fx.Node) -> bool:
    """Whether the node surrounds each channel with zeros, as a convolution does itself."""
    if node.target is not F.pad:
        return False
    given = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False)) | dict(node.kwargs)
    pad, mode = given.get("pad"), given.get("mode", "constant")
    fixed = isinstance(pad, tuple | list) and len(pad) == 4 and all(isinstance(size, int) for size in pad)
    return bool(fixed and mode == "constant" and not given.get("value"))


def chw(node: fx.Node) -> tuple[int, int, int] | None:
    """Return channels, height and width of a node that holds a feature map, else None."""
    shape = node.meta.get("shape")
    return (shape[1], shape[2], shape[3]) if shape is not None and len(shape) == 4 else None


def conv_spec(node: fx.Node, conv: nn.Conv2d) -> ConvSpec:
    """Describe the convolution that ``node`` calls; shapes must have been recorded."""
    shape = chw(node)
    assert shape is not None  # noqa: S101 - a convolution's result is a feature map
    kernel = (int(conv.kernel_size[0]), int(conv.kernel_size[1]))
    macs = shape[0] * shape[1] * shape[2] * conv.in_channels // conv.groups * kernel[0] * kernel[1]
    stride = (int(conv.stride[0]), int(conv.stride[1]))
    return ConvSpec(str(node.target), conv.in_channels, conv.out_channels, kernel, stride, conv.groups, macs)


def region(entry: fx.Node, end: fx.Node) -> list[fx.Node] | None:
    """Return the nodes that lead from ``entry`` (not included) to ``end``, in order.

    None if the region reads any tensor but ``entry``'s, or if a node inside it is read from outside.
    """
    order = {node: i for i, node in enumerate(entry.graph.nodes)}
    inside: set[fx.Node] = set()
    todo = [end]
    while todo:
        node = todo.pop()
        if node is entry or node in inside:
            continue
        if node.op == "placeholder" or (order[node] < order[entry] and node.op != "get_attr"):
            return None
        inside.add(node)
        todo += node.all_input_nodes
    if end not in inside or not any(entry in node.all_input_nodes for node in inside):
        return None
    if any(user not in inside for node in inside if node is not end for user in node.users):
        return None
    return sorted(inside, key=order.__getitem__)


def is_trunk(node: fx.Node) -> bool:
    """Whether everything after the node depends on the network's input through the node alone."""
    order = {other: i for i, other in enumerate(node.graph.nodes)}
    position = order[node]
    for other, i in order.items():
        if i >= position or other.op in ("get_attr", "output"):
            continue
        if any(order[user] > position for user in other.users):
            return False
    return True
