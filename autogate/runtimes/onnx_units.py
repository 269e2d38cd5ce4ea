"""Write compact networks as ONNX files quickly: each form of a unit is exported once, and networks are joined of them.

Such a file is for timing: units that run the same layers on the same shapes have the same weights in it. Nodes are
named for their units, so that a runtime's own profile tells the time of each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from onnx import external_data_helper
from torch import fx

from autogate.runtimes.onnx_file import INPUT, OUTPUT
from autogate.runtimes.onnx_forms import OnnxForm, OnnxForms
from autogate.runtimes.unit_graphs import UnitGraph, cut_by_unit

# Forms may take so much disk space, and a little more.
_MOST_BYTES = 2 * 2**30
_INLINE_BYTES = 1024


class OnnxUnits:
    """Exports forms of units, keeps them, and joins networks of them.

    Weights lie in files beside the networks, once for each form; they go when this object is forgotten.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="autogate-units-")
        self._made = OnnxForms()
        self._forms: dict[str, OnnxForm] = {}
        self._bytes = 0
        self._written = 0

    @property
    def is_full(self) -> bool:
        """Whether no more forms should be kept here."""
        return self._bytes > _MOST_BYTES

    def write(self, compact: fx.GraphModule, x: torch.Tensor) -> Path:
        """Write a network for input batches like ``x``, ``[N, C, H, W]``, and return the path; the caller removes it.

        Raises:
            Exception: Of any kind, if PyTorch's exporter refuses a unit.
        """
        cut = cut_by_unit(compact, x)
        self._export_ahead(cut.graphs)
        graph = onnx.GraphProto(name="units")
        known = {cut.input: INPUT}
        models = []
        for number, piece in enumerate(cut.graphs):
            form = self._form(piece)
            models.append(form.model)
            _append(graph, form, piece, f"u{piece.unit}/{number}/", known)
        graph.input.append(onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, x.shape))
        written: set[str] = set()
        for place, name in cut.outputs.items():
            # A runtime may call the node that writes a result by the result's name.
            output, shape = f"u{cut.graphs[-1].unit}/{place or OUTPUT}", cut.results[place].shape
            if name in written:
                graph.node.append(onnx.helper.make_node("Identity", [known[name]], [output], output))
            else:
                _call(graph, known[name], output)
                known[name] = output
            written.add(name)
            graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape))
        opsets = {(opset.domain, opset.version): opset for model in models for opset in model.opset_import}
        joined = onnx.helper.make_model(graph, opset_imports=list(opsets.values()), ir_version=models[0].ir_version)
        self._written += 1
        path = Path(self._folder.name) / f"network-{self._written}.onnx"
        path.write_bytes(joined.SerializeToString())
        return path

    def export_ahead(self, compacts: Iterable[fx.GraphModule], x: torch.Tensor) -> None:
        """Export what networks that will be written need, faster than one after the other."""
        self._export_ahead(piece for compact in compacts for piece in cut_by_unit(compact, x).graphs)

    def _export_ahead(self, pieces: Iterable[UnitGraph]) -> None:
        self._made.export_ahead(piece for piece in pieces if piece.digest not in self._forms)

    def _form(self, piece: UnitGraph) -> OnnxForm:
        digest = piece.digest
        if digest not in self._forms:
            form = self._made.form(piece)
            self._forms[digest] = replace(form, model=self._with_weights_beside(form.model, f"{digest}.weights"))
        return self._forms[digest]

    def _with_weights_beside(self, original: onnx.ModelProto, name: str) -> onnx.ModelProto:
        """Return a graph whose weights lie in a file."""
        model = onnx.ModelProto()
        model.CopyFrom(original)
        with (Path(self._folder.name) / name).open("wb") as file:
            for tensor in model.graph.initializer:
                if len(tensor.raw_data) <= _INLINE_BYTES:
                    continue
                offset = file.tell()
                file.write(tensor.raw_data)
                external_data_helper.set_external_data(tensor, name, offset, len(tensor.raw_data))
                tensor.ClearField("raw_data")
                file.write(b"\0" * (-file.tell() % 64))
            self._bytes += file.tell()
        return model


def _append(graph: onnx.GraphProto, form: OnnxForm, piece: UnitGraph, prefix: str, known: dict[str, str]) -> None:
    """Add a form to the network's graph, reading what earlier ones gave, and note what it gives."""
    given = {name: known[read] for name, read in zip(form.inputs, piece.inputs, strict=True)}

    def renamed(name: str) -> str:
        return given.get(name) or (prefix + name if name else "")

    for node in form.model.graph.node:
        graph.node.add().CopyFrom(node)
        _rename(graph.node[-1], renamed)
    for tensor in form.model.graph.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = renamed(tensor.name)
    for name, inner in zip(piece.outputs, form.outputs, strict=True):
        known[name] = renamed(inner)


def _call(graph: onnx.GraphProto, before: str, after: str) -> None:
    """Give a tensor of a graph another name."""
    for node in graph.node:
        _rename_all(node.input, lambda name: after if name == before else name)
        _rename_all(node.output, lambda name: after if name == before else name)


def _rename(node: onnx.NodeProto, renamed: Callable[[str], str]) -> None:
    node.name = renamed(node.name or node.op_type)
    _rename_all(node.input, renamed)
    _rename_all(node.output, renamed)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            if not graph.ByteSize():
                continue
            for inner in graph.node:
                _rename(inner, renamed)
            for named in (*graph.input, *graph.output, *graph.initializer):
                named.name = renamed(named.name)


def _rename_all(names: Iterable[str], renamed: Callable[[str], str]) -> None:
    found = [renamed(name) for name in names]
    names[:] = found  # type: ignore[index]
