"""Why a network cannot be traced or run, in its author's words: where it happens, what is wrong there, what to do."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch
from torch import fx, nn

from autogate.errors import ModelError
from autogate.sites.graph import module_of
from autogate.sites.known_shapes import _UnknownValueError
from autogate.system import one_line

_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
_MAX_SOURCE = 80
# What code does with a tensor whose values are not there while it is traced, by what Python or torch say of it.
_NEEDS_VALUES = {
    "control flow": "it decides by the values of a tensor (control flow)",
    "be iterated": "it goes through a tensor piece by piece",
    "as an integer": "it takes the size or a value of a tensor for a fixed number",
    "'len'": "it asks for the length of a tensor",
    "item assignment": "it assigns to a part of a tensor",
    "Proxy": "it takes values out of a tensor",
}
_NORMALISATIONS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
_MISSING = re.compile(r"missing \d+ required positional arguments?: ('\w+')")
_TOO_SMALL = re.compile(r"too small|greater than actual input|less than the corresponding")
_DTYPE = re.compile(r"should be the same|same dtype|dtype|expected scalar type", re.IGNORECASE)
_DEVICE = re.compile(r"NVIDIA|CUDA|same device|Cannot copy out of meta", re.IGNORECASE)


def untraceable_reason(error: Exception) -> str:
    """Return why a module cannot be traced, where, and what to do about it.

    Args:
        error: What tracing the module raised.
    """
    text, where = str(error), _place(error)
    if isinstance(error, RecursionError):
        return f"its forward calls itself without end{where}; correct it"
    if isinstance(error, _UnknownValueError):
        return f"its control flow {error}{where}; rewrite its forward without that"
    if isinstance(error, fx.proxy.TraceError) or "Proxy" in text or "symbolic tracing" in text:
        what = next((words for sign, words in _NEEDS_VALUES.items() if sign in text), _NEEDS_VALUES["Proxy"])
        return f"{what}{where}; rewrite its forward without that"
    return f"its forward fails, {one_line(error, with_type=True)}{where}; run the network once by itself and correct it"


def run_failure(model: nn.Module, node: fx.Node | None, shape: tuple[int, ...], error: Exception) -> ModelError:
    """Return the error for a network whose forward pass fails.

    Args:
        model: The network.
        node: Where in its graph it fails; None if that is not known.
        shape: Shape of the input, ``[N, C, H, W]``.
        error: What it raised.
    """
    what, advice = one_line(error) + _place(error), _advice(str(error))
    if isinstance(error, NotImplementedError) and 'required "forward"' in str(error):
        return ModelError(f"{type(model).__name__} has no forward; give it one that takes a batch of images")
    if isinstance(error, TypeError) and (missing := _MISSING.search(str(error))) is not None:
        what = f"its forward takes {missing[1]} beside the images"
        advice = "wrap it in a module that takes the images alone"
    elif node is not None and (layer := module_of(node, model)) is not None:
        found = _input_shape(node)
        expected = _expectation(layer)
        if expected is not None and found is not None and not _agrees(layer, found):
            what = f"layer {str(node.target)!r} ({type(layer).__name__}) takes {expected} and gets {found}"
            advice = _mismatch_advice(layer, node)
        else:
            what = f"layer {str(node.target)!r} ({type(layer).__name__}){f' of {found}' if found else ''}: {what}"
    elif node is not None:
        inputs = " and ".join(str(one.meta["shape"]) for one in node.all_input_nodes if "shape" in one.meta)
        what = f"{_operation(node)}{f' of {inputs}' if inputs else ''}: {what}"
    return ModelError(f"{type(model).__name__} fails on an input of shape {shape}: {what}; {advice}")


def _place(error: Exception) -> str:
    """Return the last line of the author's own code that the error passed, or nothing if it passed none."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    if not own:
        return ""
    source = (own[-1].line or "")[:_MAX_SOURCE]
    return f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" + (f": `{source}`" if source else "")


def _is_library(file: str) -> bool:
    return file.startswith((*_LIBRARIES, "<"))


def _input_shape(node: fx.Node) -> tuple[int, ...] | None:
    shape = node.all_input_nodes[0].meta.get("shape") if node.all_input_nodes else None
    return None if shape is None else tuple(shape)


def _expectation(layer: nn.Module) -> str | None:
    """Return what a layer takes, if that is a number of channels or features."""
    if isinstance(layer, nn.Linear):
        return _counted(layer.in_features, "feature")
    if isinstance(layer, nn.LayerNorm):
        return f"shapes that end with {tuple(layer.normalized_shape)}"
    channels = _channels(layer)
    return None if channels is None else _counted(channels, "channel")


def _agrees(layer: nn.Module, found: tuple[int, ...]) -> bool:
    """Whether the number of channels or features that a layer gets is the one it takes."""
    if isinstance(layer, nn.Linear):
        return found[-1:] == (layer.in_features,)
    if isinstance(layer, nn.LayerNorm):
        return found[-len(layer.normalized_shape) :] == tuple(layer.normalized_shape)
    return len(found) > 1 and found[1] == _channels(layer)


def _channels(layer: nn.Module) -> int | None:
    """Return the number of channels that a layer takes; None if it has no such number."""
    names = ("in_channels", "num_channels") if not isinstance(layer, _NORMALISATIONS) else ("num_features",)
    return next((value for name in names if isinstance(value := getattr(layer, name, None), int)), None)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _mismatch_advice(layer: nn.Module, node: fx.Node) -> str:
    if node.all_input_nodes[0].op == "placeholder":
        return "give it images with as many channels, or change the layer"
    if isinstance(layer, nn.Linear):
        return "check --input-size, on which the number of features may depend, or change the layer"
    return "change one of the two"


def _advice(text: str) -> str:
    if _TOO_SMALL.search(text):
        return "raise --input-size, or correct the network"
    if _DEVICE.search(text):
        return "leave it to the caller to move tensors to a device"
    if _DTYPE.search(text):
        return "keep all tensors in float32"
    return "check --input-size, or correct the network"


def _operation(node: fx.Node) -> str:
    """Return the name of an operation and the module whose forward calls it."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    paths = [str(path) for path, _ in node.meta.get("nn_module_stack", {}).values()]
    return f"`{name}`" + (f" in module {paths[-1]!r}" if paths and paths[-1] else "")
