"""Write a network as an ONNX file, by PyTorch's own exporter."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from autogate.sites import tensors_of
from autogate.system import onnx_registry_kept

INPUT, OUTPUT = "images", "logits"
_NOTHING_OPSET = 17
_SCOPES = "pkg.torch.onnx.name_scopes"


def write_onnx(
    module: nn.Module, example: torch.Tensor, path: Path, *, any_batch: bool = False, facts: Mapping[str, str] = {}
) -> None:
    """Write a network in evaluation mode as one ONNX file with the input ``images`` and the output ``logits``.

    A network that returns several tensors has an output for each, named for its place, such as ``aux.1``.

    Args:
        module: The network.
        example: An input batch, float32 ``[N, C, H, W]``.
        path: Where to write.
        any_batch: Whether the file is to take batches of any size, not of ``N`` only; ``N`` is then at least 2.
        facts: Texts by name that are kept in the file.
    """
    if not all(weight.is_contiguous() for weight in module.parameters()):
        # Else the exporter writes how results lie in memory into the file, which not every runtime reads alike.
        module = copy.deepcopy(module).to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        places = list(tensors_of(module(example)))
    names = [place or OUTPUT for place in places]
    shapes = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    model = exported(module, (example,), [INPUT], names, shapes)
    _name_nodes(model.graph)
    for key, value in facts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def write_nothing(path: Path) -> None:
    """Write a network of one cheap node, for a vector of one number."""
    given, returned = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in (INPUT, OUTPUT)
    )
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", [INPUT], [OUTPUT])], "nothing", [given], [returned])
    opsets = [onnx.helper.make_opsetid("", _NOTHING_OPSET)]
    path.write_bytes(onnx.helper.make_model(graph, ir_version=8, opset_imports=opsets).SerializeToString())


def exported(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: Any = None,
) -> onnx.ModelProto:
    """Return a module in evaluation mode as PyTorch's exporter writes it.

    Args:
        module: The module.
        examples: A value of each input.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        dynamic_shapes: Dimensions that stay free, as :func:`torch.export.export` takes them; None for none.
    """
    with _quiet(), onnx_registry_kept(), torch.no_grad():
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            verbose=False,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
        )
    assert program is not None  # noqa: S101 - None only for the older exporter
    return program.model_proto


def _name_nodes(graph: Any) -> None:
    """Name nodes for the module that they come from, such as ``layer2.1.conv1/Conv``, as viewers show them."""
    seen: dict[str, int] = {}
    for node in graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
        paths = [part.strip(" []'\"") for part in scopes.split(",")][:-1]
        name = f"{paths[-1] if paths and paths[-1] else 'network'}/{node.op_type}"
        count = seen[name] = seen.get(name, 0) + 1
        node.name = name if count == 1 else f"{name}_{count}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter warns and prints off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
