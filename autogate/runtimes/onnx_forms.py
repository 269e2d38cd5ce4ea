"""Forms of units as ONNX graphs: exported by PyTorch, or made of one that differs in numbers of channels only."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
import torch
from onnx import inliner, numpy_helper
from torch import nn

from autogate.runtimes.onnx_file import exported
from autogate.runtimes.unit_graphs import UnitGraph, is_depthwise

# Forms that are exported in one call.
_AT_ONCE = 16
# Operators that take as many channels as their inputs and weights have.
_FOR_ANY_WIDTH = frozenset(
    {
        *("Add", "Concat", "Div", "Identity", "Mul", "Sub"),
        *("AveragePool", "GlobalAveragePool", "MaxPool"),
        *("Cast", "GreaterOrEqual", "If", "Reshape"),
        *("Conv", "Gemm"),
        *("Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Tanh"),
    }
)


# Operators whose further inputs are numbers of dimensions.
_WITH_AXES = frozenset({"ReduceMean", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True)
class OnnxForm:
    """One form of a unit.

    Attributes:
        model: Its graph.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        prefix: What the names of weights begin with, before that of their layer.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    prefix: str


class OnnxForms:
    """Makes ONNX graphs of units, and calls PyTorch's exporter, which is slow, as rarely as it can."""

    def __init__(self) -> None:
        self._patterns: dict[str, tuple[OnnxForm, UnitGraph] | None] = {}
        self._exported: dict[str, OnnxForm] = {}

    def form(self, piece: UnitGraph) -> OnnxForm:
        """Return the form of a unit.

        Raises:
            Exception: Of any kind, if PyTorch's exporter refuses it.
        """
        self.export_ahead([piece])
        if (found := self._exported.pop(piece.digest, None)) is not None:
            return found
        if (pattern := self._patterns[piece.pattern]) is not None:
            return _resized(*pattern, piece)
        return _exported([piece])[0]

    def export_ahead(self, pieces: Iterable[UnitGraph]) -> None:
        """Export forms that will be asked for, many at once: a call of the exporter takes as long as a few forms."""
        wanted: dict[str, UnitGraph] = {}
        begun: set[str] = set()
        for piece in pieces:
            if (digest := piece.digest) in self._exported or digest in wanted:
                continue
            if piece.pattern in begun or self._patterns.get(piece.pattern) is not None:
                continue
            # One that does not do for any width is exported for each.
            if piece.pattern not in self._patterns:
                begun.add(piece.pattern)
            wanted[digest] = piece
        ahead = list(wanted.items())
        for start in range(0, len(ahead), _AT_ONCE):
            batch = ahead[start : start + _AT_ONCE]
            for (digest, piece), form in zip(batch, _exported([piece for _, piece in batch]), strict=True):
                self._exported[digest] = form
                fits = _is_for_any_width(form, piece)
                self._patterns.setdefault(piece.pattern, (form, piece) if fits else None)


class _SideBySide(nn.Module):
    """Pieces that have nothing to do with each other."""

    def __init__(self, pieces: Sequence[UnitGraph]) -> None:
        super().__init__()
        self.parts = _without_zeros(nn.ModuleList(piece.module for piece in pieces))
        self.inputs = [len(piece.inputs) for piece in pieces]

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what all pieces give."""
        given, results = iter(tensors), []
        for part, count in zip(self.parts, self.inputs, strict=True):
            results += part(*itertools.islice(given, count))
        return tuple(results)


def _exported(pieces: Sequence[UnitGraph]) -> list[OnnxForm]:
    inputs = [[f"in{i}.{j}" for j in range(len(piece.inputs))] for i, piece in enumerate(pieces)]
    outputs = [[f"out{i}.{j}" for j in range(len(piece.outputs))] for i, piece in enumerate(pieces)]
    # Two inputs that are one tensor would be exported as one.
    examples = [example.clone() for piece in pieces for example in piece.examples]
    model = exported(_SideBySide(pieces), tuple(examples), sum(inputs, []), sum(outputs, []))
    if model.functions:
        model = inliner.inline_local_functions(model)
    forms = []
    for i, (piece, read, names) in enumerate(zip(pieces, inputs, outputs, strict=True)):
        form = OnnxForm(_part_of(model, names), tuple(read), tuple(names), f"parts.{i}.")
        _fill(form.model, dict(_weights(piece, form.prefix)))
        forms.append(form)
    return forms


def _part_of(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return what some of a graph's outputs are computed from."""
    makers = {name: i for i, node in enumerate(model.graph.node) for name in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted, nodes, found = list(outputs), set[int](), dict[str, onnx.TensorProto]()
    while wanted:
        name = wanted.pop()
        if name in weights:
            found[name] = weights[name]
        elif (number := makers.get(name)) is not None and number not in nodes:
            nodes.add(number)
            wanted += _read_by(model.graph.node[number])
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.node.extend(model.graph.node[i] for i in sorted(nodes))
    part.graph.initializer.extend(found[name] for name in sorted(found))
    return part


def _read_by(node: onnx.NodeProto) -> list[str]:
    """Return the names that a node reads, those that the graphs inside it read from outside among them."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names += [name for inner in graph.node for name in _read_by(inner)]
            names += [value.name for value in graph.output]
    return names


def _without_zeros(module: nn.ModuleList) -> nn.ModuleList:
    """Return a copy in which no bias is zero, as in a trained network: the exporter leaves such out.

    Nor are two equal, as fresh ones may be: it would make one of them.
    """
    module, generator = copy.deepcopy(module), torch.Generator().manual_seed(0)
    for weight in itertools.chain(module.parameters(), module.buffers()):
        if weight.is_floating_point() and bool((weight == weight.flatten()[:1]).all()):
            weight.data = weight + 0.01 * torch.randn(weight.shape, generator=generator)
    return module


def _is_for_any_width(form: OnnxForm, piece: UnitGraph) -> bool:
    """Whether nothing in a form but the layers' weights, as they are, depends on numbers of channels."""
    nodes = list(_nodes(form.model.graph))
    if not {node.op_type for node in nodes} <= _FOR_ANY_WIDTH | _WITH_AXES:
        return False
    weights = {name: tuple(weight.shape) for name, weight in _weights(piece, form.prefix)}
    found = {tensor.name: tuple(tensor.dims) for tensor in form.model.graph.initializer}
    axes = {name for node in nodes if node.op_type in _WITH_AXES for name in node.input[1:]}
    constants = found.keys() - weights.keys() - axes
    return weights.items() <= found.items() and all(math.prod(found[name]) <= 1 for name in constants)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph, and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _resized(form: OnnxForm, of: UnitGraph, piece: UnitGraph) -> OnnxForm:
    """Return a form with the weights of another piece, whose layers differ in numbers of channels only."""
    model = onnx.ModelProto()
    model.CopyFrom(form.model)
    pairs = zip(_weights(of, form.prefix), _weights(piece, form.prefix), strict=True)
    weights = {name: weight for (name, _), (_, weight) in pairs}
    _fill(model, weights)
    parts = zip(_parts(of), _parts(piece), strict=True)
    filters = {f"{form.prefix}{path}.weight": layer for (path, _), (_, layer) in parts}
    for node in _nodes(model.graph):
        layer = filters.get(node.input[1]) if node.op_type == "Conv" else None
        if layer is not None and is_depthwise(layer):
            next(one for one in node.attribute if one.name == "group").i = int(layer.groups)  # type: ignore[arg-type]
    return replace(form, model=model)


def _fill(model: onnx.ModelProto, weights: Mapping[str, torch.Tensor]) -> None:
    """Give a graph the weights of these names."""
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].detach().numpy(), tensor.name))


def _parts(piece: UnitGraph) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules of the layers by their paths, in the order of the layers."""
    called = [str(node.target) for node in piece.module.graph.nodes if node.op == "call_module"]
    for path, layer in zip(called, piece.layers, strict=True):
        yield from ((f"{path}.{below}" if below else path, part) for below, part in layer.named_modules())


def _weights(piece: UnitGraph, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield all weights by the names that the exporter gives them, in the order of the layers."""
    for path, part in _parts(piece):
        for name, weight in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
            yield f"{prefix}{path}.{name}", weight
