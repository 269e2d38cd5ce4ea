"""Cut a compact network into modules of one unit each, which take and return tensors only."""

from __future__ import annotations

import functools
import hashlib
import itertools
import types
from collections.abc import Iterator
from dataclasses import dataclass
from operator import getitem
from typing import Any

import torch
from torch import fx, nn

from autogate.sites import attribute, tensors_of
from autogate.surgery import UNIT

_Scalar = bool | int | float | str | None
# Attributes of every module, which say nothing of what it computes; in evaluation mode, neither does ``training``.
_INTERNALS = frozenset(vars(nn.Module()))
_WIDTHS = frozenset({"in_channels", "out_channels", "in_features", "out_features", "num_features"})
_numbers = itertools.count()


@dataclass(frozen=True)
class UnitGraph:
    """Consecutive nodes of one unit, as a module.

    Attributes:
        unit: Number of the unit.
        module: Takes the tensors ``inputs`` in order, and returns a tuple with those of ``outputs``.
        inputs: Names of the tensors that it reads; each is an output of an earlier graph, or the network's input.
        outputs: Names of the tensors that later graphs read, or the network returns.
        examples: A value of each input.
    """

    unit: int
    module: fx.GraphModule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    examples: tuple[torch.Tensor, ...]

    @property
    def layers(self) -> list[nn.Module]:
        """The modules that it calls, in order."""
        called = [node for node in self.module.graph.nodes if node.op == "call_module"]
        return [self.module.get_submodule(str(node.target)) for node in called]

    @functools.cached_property
    def digest(self) -> str:
        """What it has in common with graphs that run the same layers on the same shapes, whatever the weights."""
        return self._digest(widths=True)

    @functools.cached_property
    def pattern(self) -> str:
        """What it has in common with graphs that differ from it in numbers of channels of PyTorch's layers only."""
        return self._digest(widths=False)

    def _digest(self, *, widths: bool) -> str:
        reads = [str(node.target) for node in self.module.graph.nodes if node.op == "get_attr"]
        tensors = [*self.examples, *(attribute(self.module, name) for name in reads)]
        lines = [_shape_text(tensor, widths=widths) for tensor in tensors]
        lines += _nodes_text(self.module)
        for layer in self.layers:
            lines += _module_text(layer, widths=widths)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CutNetwork:
    """A compact network in pieces.

    Attributes:
        graphs: Its pieces, in an order in which they can run.
        input: Name of the network's input.
        outputs: Name of the tensor at each place of the result, as :func:`autogate.sites.tensors_of` numbers them.
        results: The tensor itself for the input that it was cut with.
    """

    graphs: tuple[UnitGraph, ...]
    input: str
    outputs: dict[str, str]
    results: dict[str, torch.Tensor]


def cut_by_unit(compact: fx.GraphModule, x: torch.Tensor) -> CutNetwork:
    """Cut a compact network wherever the unit of its nodes changes.

    Args:
        compact: The network, in evaluation mode.
        x: An input batch, ``[N, C, H, W]``; what is no tensor between two units is taken as it is for this one.

    Raises:
        TypeError: If something else than tensors, tuples of tensors and numbers passes from unit to unit.
    """
    values = _Recorder(compact).values_for(x)
    nodes = [node for node in compact.graph.nodes if node.op in ("call_module", "call_function", "call_method")]
    names = {id(value): name for node in reversed(nodes) for name, value in _leaves(node.name, values[node])}
    entry = next(node for node in compact.graph.nodes if node.op == "placeholder")
    names[id(x)] = entry.name
    graphs = [
        _piece(compact, unit, list(members), values)
        for unit, members in itertools.groupby(nodes, key=lambda node: int(node.meta[UNIT]))
    ]
    [result] = [node for node in compact.graph.nodes if node.op == "output"]
    returned = fx.node.map_arg(result.args[0], lambda node: values[node])
    results = tensors_of(returned)
    outputs = {place: names[id(value)] for place, value in results.items()}
    return CutNetwork(tuple(graphs), entry.name, outputs, results)


class _Recorder(fx.Interpreter):
    """Runs a network and keeps the value of every node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self._values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and keep its value."""
        self._values[n] = super().run_node(n)
        return self._values[n]

    def values_for(self, x: torch.Tensor) -> dict[fx.Node, Any]:
        """Return the value of every node for an input."""
        with torch.no_grad():
            self.run(x)
        return self._values


def _piece(compact: fx.GraphModule, unit: int, members: list[fx.Node], values: dict[fx.Node, Any]) -> UnitGraph:
    graph, inside = fx.Graph(), set(members)
    known: dict[fx.Node, Any] = {}
    root: dict[str, Any] = {}
    inputs: list[str] = []
    examples: list[torch.Tensor] = []
    before = dict.fromkeys(node for member in members for node in member.all_input_nodes if node not in inside)
    for node in before:
        if node.op == "get_attr":
            root[str(node.target)] = attribute(compact, str(node.target))
            known[node] = graph.node_copy(node)
            continue
        leaves = list(_leaves(node.name, values[node]))
        inputs += [name for name, _ in leaves]
        examples += [value for _, value in leaves]
        known[node] = _rebuilt(values[node], iter([graph.placeholder(name.replace(".", "_")) for name, _ in leaves]))
    for node in members:
        known[node] = graph.node_copy(node, known.__getitem__)
        if node.op == "call_module":
            root[str(node.target)] = compact.get_submodule(str(node.target))
    outputs: dict[str, Any] = {}
    for node in members:
        if any(user not in inside for user in node.users):
            outputs |= _taken_apart(graph, node.name, known[node], values[node])
    graph.output(tuple(outputs.values()))
    return UnitGraph(unit, fx.GraphModule(root, graph).eval(), tuple(inputs), tuple(outputs), tuple(examples))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in a value, each with a name."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from _leaves(f"{name}.{i}", part)
    elif not isinstance(value, _Scalar):
        raise TypeError(f"a {type(value).__name__} passes from one unit to another")


def _rebuilt(value: Any, tensors: Iterator[fx.Node]) -> Any:
    """Return a value with the tensors in it replaced by nodes."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, tuple | list):
        return tuple(_rebuilt(part, tensors) for part in value)
    return value


def _taken_apart(graph: fx.Graph, name: str, node: Any, value: Any) -> dict[str, Any]:
    """Return nodes for the tensors in a node's value, by their names."""
    if isinstance(value, torch.Tensor):
        return {name: node}
    found: dict[str, Any] = {}
    for i, part in enumerate(value if isinstance(value, tuple | list) else ()):
        found |= _taken_apart(graph, f"{name}.{i}", graph.call_function(getitem, (node, i)), part)
    return found


def _nodes_text(module: fx.GraphModule) -> Iterator[str]:
    """Yield a line for each node, with numbers instead of names."""
    numbers = {node: f"%{i}" for i, node in enumerate(module.graph.nodes)}
    modules = {path: f"module {i}" for i, (path, _) in enumerate(module.named_modules())}
    for node in module.graph.nodes:
        target = node.target
        if node.op == "call_module":
            what = modules[str(target)]
        elif node.op == "call_function":
            what = f"{target.__module__}.{getattr(target, '__qualname__', target)}"
        else:
            what = str(target) if node.op == "call_method" else ""
        args = fx.node.map_arg((node.args, node.kwargs), numbers.__getitem__)
        yield f"{node.op} {what} {args}"


def _module_text(module: nn.Module, *, widths: bool = True) -> Iterator[str]:
    """Yield what a module and those below it compute, but for the values of their weights, and without their names."""
    for part in module.modules():
        yield f"{type(part).__module__}.{type(part).__qualname__} {len(list(part.children()))}"
        if isinstance(part, fx.GraphModule):
            yield from _nodes_text(part)
            continue
        settings = {key: value for key, value in vars(part).items() if key not in _INTERNALS}
        if not widths and type(part).__module__.startswith("torch.nn.modules"):
            settings = {key: value for key, value in settings.items() if key not in _WIDTHS}
            if is_depthwise(part):
                settings["groups"] = "one per channel"
        try:
            yield _value_text(settings)
        except RecursionError:  # it refers to itself
            yield _unlike_any_other()
        weights = itertools.chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False))
        yield from (f"{name} {_shape_text(value) if widths else value.dtype}" for name, value in weights)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution with a filter of its own for each channel."""
    return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels == layer.out_channels


def _value_text(value: Any) -> str:
    """Return what a value is; two texts are equal only if the values do the same.

    In a dictionary of numbers the keys do not count: they name layers.

    Raises:
        RecursionError: If the value refers to itself.
    """
    if isinstance(value, tuple | list):
        return str([_value_text(part) for part in value])
    if isinstance(value, dict) and all(isinstance(part, int | float) for part in value.values()):
        return f"numbers {list(value.values())}"
    if isinstance(value, dict):
        return str({str(key): _value_text(part) for key, part in value.items()})
    if isinstance(value, torch.Tensor):
        return _shape_text(value)
    if isinstance(value, nn.Module):
        return str(list(_module_text(value)))
    if isinstance(value, functools.partial):
        return f"{_value_text(value.func)} {_value_text(value.args)} {_value_text(value.keywords)}"
    if isinstance(value, types.MethodType):
        return f"{value.__qualname__} of {_value_text(value.__self__)}"
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return f"{value.__module__}.{value.__qualname__} {_value_text([*cells, *(value.__defaults__ or ())])}"
    if isinstance(value, _Scalar | torch.dtype | type | types.BuiltinFunctionType):
        return str(value)
    if hasattr(value, "__dict__"):
        return f"{type(value).__module__}.{type(value).__qualname__} {_value_text(vars(value))}"
    return _unlike_any_other()


def _unlike_any_other() -> str:
    return f"unlike any other: {next(_numbers)}"


def _shape_text(value: torch.Tensor, *, widths: bool = True) -> str:
    shape = value.shape if widths else (value.shape[0], "channels", *value.shape[2:])
    return f"{tuple(shape)} {value.dtype}"
