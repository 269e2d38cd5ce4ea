"""Trace a network into an fx graph that calls the user's modules.

Tracing freezes ``self.training``. Two things undo that: a flag handed to a functional call is read from the
graph module again, and a module that takes another path in training than in evaluation is not opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from autogate.errors import ModelError
from autogate.sites.failures import run_failure, untraceable_reason
from autogate.sites.known_shapes import KnownShapes
from autogate.sites.results import tensors_of
from autogate.sites.tracer import Tracer
from autogate.sites.training_heads import mark_heads

# Each closes at least one module, with all that is in it.
_MAX_RETRACES = 200


def trace(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[fx.Graph, dict[str, str]]:
    """Return the graph of ``model``, and why some of its modules could not be opened.

    The graph's nodes call the model's own modules by their paths. A module whose forward pass cannot be traced is
    called as a whole. In-place operations stay in place. Arguments other than the images have their defaults, and
    branches that depend on shapes alone are decided. The graph returns what the network does in evaluation; what it
    returns in training besides is kept for :func:`~autogate.sites.training_heads.split_heads`.

    Args:
        model: A network that takes one image batch, float32 ``[N, C, H, W]``.
        input_shape: Channels, height and width of one input.

    Raises:
        ModelError: If the network's outermost forward pass cannot be traced; names it and the reason.
    """
    whole: frozenset[str] = frozenset()
    closed: dict[str, str] = {}
    shapes = KnownShapes(model, input_shape)
    with modes_kept(model):
        for _ in range(_MAX_RETRACES):
            training, in_training = _trace_once(model.train(), shapes, whole)
            evaluation, in_evaluation = _trace_once(model.eval(), shapes, whole)
            failed = training.closed | evaluation.closed
            if failed:
                closed |= failed
                whole |= failed.keys()
                continue
            pairs = mark_heads(in_training, in_evaluation)
            if pairs is not None:
                _restore_training_flag(in_training, pairs)
                _remove_identities(in_training, model)
                return in_training, closed
            differing = _differing(training, evaluation)
            if not differing - {"", *whole}:
                break
            whole |= differing
    raise ModelError(
        f"{type(model).__name__} takes another path in training than in evaluation outside any submodule; "
        "move that part into a separate module"
    )


def _trace_once(model: nn.Module, shapes: KnownShapes, whole: frozenset[str]) -> tuple[Tracer, fx.Graph]:
    tracer = Tracer(shapes, whole)
    try:
        return tracer, tracer.trace(model)
    except Exception as error:  # torch.fx raises many kinds; all of them mean "not traceable"
        raise ModelError(f"cannot trace module {type(model).__name__!r}: {untraceable_reason(error)}") from error


def _differing(training: Tracer, evaluation: Tracer) -> set[str]:
    """Return the innermost modules that do something else in training than in evaluation, by path."""
    both = training.steps.keys() & evaluation.steps.keys()
    paths = {path for path in both if training.steps[path] != evaluation.steps[path]}
    return {path for path in paths if not any(other.startswith(f"{path}.") or not path for other in paths - {path})}


def _restore_training_flag(graph: fx.Graph, pairs: Mapping[fx.Node, fx.Node]) -> None:
    for twin, node in pairs.items():
        if node.op != "call_function":
            continue
        flipping_args = [i for i, (a, b) in enumerate(zip(node.args, twin.args, strict=False)) if _flips(a, b)]
        flipping_kwargs = [key for key in node.kwargs if _flips(node.kwargs[key], twin.kwargs.get(key))]
        if not flipping_args and not flipping_kwargs:
            continue
        with graph.inserting_before(node):
            flag = graph.create_node("get_attr", "training")
        node.args = tuple(flag if i in flipping_args else arg for i, arg in enumerate(node.args))
        node.kwargs = {key: flag if key in flipping_kwargs else value for key, value in node.kwargs.items()}


def _flips(in_training: Any, in_evaluation: Any) -> bool:
    return in_training is True and in_evaluation is False


def _remove_identities(graph: fx.Graph, model: nn.Module) -> None:
    """Let readers of an ``nn.Identity`` read its input, so that an identity shortcut looks like one."""
    for node in list(graph.nodes):
        if node.op == "call_module" and type(model.get_submodule(str(node.target))) is nn.Identity:
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)


def traced(model: nn.Module, input_shape: tuple[int, int, int]) -> tuple[fx.Graph, dict[str, str]]:
    """Return what :func:`trace` does, with each tensor's shape in its node's ``meta["shape"]``.

    Raises:
        ModelError: If the network does not run on such an input, or cannot be traced.
    """
    parameter = next(model.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    example = torch.zeros(1, *input_shape, device=device)
    try:
        graph, closed = trace(model, input_shape)
    except ModelError:
        # An input that does not fit can also be what stops the trace; then that is the reason to name.
        _run(model, model, example)
        raise
    record_shapes(model, graph, example)
    return graph, closed


class _ShapeRecorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # else the interpreter adds its own words to errors
        self.running: fx.Node | None = None

    def run_node(self, n: fx.Node) -> Any:
        self.running = n
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            n.meta["shape"] = tuple(value.shape)
        return value


def record_shapes(model: nn.Module, graph: fx.Graph, example: torch.Tensor) -> None:
    """Run ``model`` once on ``example`` and store each tensor's shape in its node's ``meta["shape"]``.

    Raises:
        ModelError: If it fails on the example, or returns something else than tensors.
    """
    form = fx.GraphModule(model, graph)
    tensors_of(_run(model, form, example, _ShapeRecorder(form)))


def _run(model: nn.Module, form: nn.Module, example: torch.Tensor, recorder: _ShapeRecorder | None = None) -> Any:
    """Return what a form of ``model`` makes of ``example`` in evaluation."""
    with modes_kept(model):
        model.eval()
        form.eval()
        try:
            with torch.no_grad():
                return form(example) if recorder is None else recorder.run(example)
        except Exception as error:  # any failure of the user's forward pass on this input
            running = None if recorder is None else recorder.running
            raise run_failure(model, running, tuple(example.shape), error) from error


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Give every buffer its value back in the end; code that is opened in training may count, or keep statistics."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Give every module its training flag back in the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
