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
from autogate.sites.in_place import InPlaceProxy
from autogate.sites.layers import is_one_of
from autogate.sites.results import tensors_of
from autogate.sites.training_heads import mark_heads

_MAX_RETRACES = 200


class _Untraceable(Exception):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class _Tracer(fx.Tracer):
    """Opens every module except torch's modules, layers just like them, and those named in ``whole``."""

    def __init__(self, whole: frozenset[str]) -> None:
        super().__init__()
        self.whole = whole
        self.entered: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            module_qualified_name in self.whole
            or is_one_of(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))
            or super().is_leaf_module(m, module_qualified_name)
        )

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return InPlaceProxy(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.entered.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.entered.pop()
        return result


def trace(model: nn.Module) -> tuple[fx.Graph, dict[str, str]]:
    """Return the graph of ``model``, and why some of its modules could not be opened.

    The graph's nodes call the model's own modules by their paths. A module whose forward pass cannot be traced is
    called as a whole. In-place operations stay in place. The graph returns what the network does in evaluation; what it
    returns in training besides is kept for :func:`~autogate.sites.training_heads.split_heads`.

    Args:
        model: A network that takes one image batch, float32 ``[N, 3, H, W]``.

    Raises:
        ModelError: If the network's outermost forward pass cannot be traced; names it and the reason.
    """
    whole: frozenset[str] = frozenset()
    closed: dict[str, str] = {}
    with modes_kept(model):
        for _ in range(_MAX_RETRACES):
            try:
                in_training = _trace_once(model.train(), whole)
                in_evaluation = _trace_once(model.eval(), whole)
            except _Untraceable as error:
                if error.path in ("", *whole):
                    where = error.path or type(model).__name__
                    raise ModelError(f"cannot trace module {where!r}: {error.reason}") from error
                whole |= {error.path}
                closed[error.path] = error.reason
                continue
            pairs = mark_heads(in_training, in_evaluation)
            if pairs is not None:
                _restore_training_flag(in_training, pairs)
                _remove_identities(in_training, model)
                return in_training, closed
            differs = _first_difference(in_training, in_evaluation)
            if differs in ("", *whole):
                break
            whole |= {differs}
    raise ModelError(
        f"{type(model).__name__} takes another path in training than in evaluation outside any submodule; "
        "move that part into a separate module"
    )


def _trace_once(model: nn.Module, whole: frozenset[str]) -> fx.Graph:
    tracer = _Tracer(whole)
    try:
        return tracer.trace(model)
    except Exception as error:  # torch.fx raises many kinds; all of them mean "not traceable"
        where = tracer.entered[-1] if tracer.entered else ""
        raise _Untraceable(where, untraceable_reason(error)) from error


def _owner(node: fx.Node) -> str:
    """Path of the module whose forward made the node; "" for the network itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    paths = [str(entry[0]) for entry in stack]
    if node.op == "call_module":
        paths = [path for path in paths if path != node.target]
    return paths[-1] if paths else ""


def _first_difference(training: fx.Graph, evaluation: fx.Graph) -> str:
    """Path of the module in which the two graphs part."""
    pairs = list(zip(training.nodes, evaluation.nodes, strict=False))
    for ours, theirs in pairs:
        if (ours.op, ours.target) != (theirs.op, theirs.target):
            return max(_owner(ours), _owner(theirs), key=lambda path: path.count(".") + bool(path))
    return ""


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


class _ShapeRecorder(fx.Interpreter):
    """Stores shapes in a graph, and remembers the node that runs."""

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
    module = fx.GraphModule(model, graph)
    with modes_kept(model):
        model.eval()
        module.eval()
        recorder = _ShapeRecorder(module)
        try:
            with torch.no_grad():
                result = recorder.run(example)
        except Exception as error:  # any failure of the user's forward pass on this input
            raise run_failure(model, recorder.running, tuple(example.shape), error) from error
    tensors_of(result)


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Give every module its training flag back in the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
