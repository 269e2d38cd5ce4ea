"""Make plain layers of fused ones, on a copy: normalisation with activation, convolutions with computed weights.

Libraries and users write such layers as subclasses whose forward pass calls functions. A gate can only stand at a
layer, so the subclass is opened, and each function that has weights becomes the layer it stands for.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autogate.errors import ModelError
from autogate.models import without_data
from autogate.sites.known_shapes import KnownShapes
from autogate.sites.layers import is_exact_layer
from autogate.sites.lifting import lift_layers
from autogate.sites.results import difference
from autogate.sites.trace_check import randomised_copy, shared_copy
from autogate.sites.tracer import Tracer

_KINDS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
_TOLERANCE = 1e-5
Shape = tuple[int, ...]


def plain_copy(model: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """Return ``model`` itself, or a copy with plain layers in place of fused ones.

    The copy shares its parameters and buffers with ``model``, except for weights that a layer computes in every pass:
    there the computed weight becomes a parameter of its own. A subclass that does something else stays as it is.

    Args:
        model: The network.
        input_shape: Channels, height and width of one input.
    """
    fused = {path: part for path, part in model.named_modules() if path and _is_fused(part)}
    if not fused:
        return model
    try:
        twin = shared_copy(model)
        shapes = _input_shapes(model, input_shape, set(fused))
    except Exception:  # noqa: BLE001 - of any code of the user's; tracing will name what is wrong
        return model
    paths: dict[nn.Module, list[str]] = defaultdict(list)
    for path, part in twin.named_modules(remove_duplicate=False):
        paths[part].append(path)
    trusted: dict[type[nn.Module], bool] = {}
    # From the inside out.
    for path in reversed(fused):
        part, shape = twin.get_submodule(path), shapes.get(path)
        if shape is None:
            continue
        kind = type(part)
        if kind not in trusted:
            alike = [at for at, other in fused.items() if type(other) is kind and at in shapes]
            smallest = min(alike, key=lambda at: math.prod(shapes[at]))
            trusted[kind] = _does_the_same(twin.get_submodule(smallest), shapes[smallest])
        made = _plain_form(part, shape) if trusted[kind] else None
        for at in paths[part] if made is not None else ():
            assert made is not None  # noqa: S101 - else there is nothing to replace
            twin.set_submodule(at, made)
    return twin


def _is_fused(part: nn.Module) -> bool:
    kind = next((kind for kind in _KINDS if isinstance(part, kind)), None)
    return kind is not None and not is_exact_layer(part, kind) and not part._forward_hooks


def _input_shapes(model: nn.Module, input_shape: Shape, paths: set[str]) -> dict[str, Shape]:
    """Return the shape of one input of each named layer; those that get several shapes or arguments are left out."""
    try:
        with torch.device("meta"):
            return _seen_shapes(without_data(model), torch.zeros(2, *input_shape), paths)
    except Exception:  # noqa: BLE001 - code that needs data
        parameter = next(model.parameters())
        return _seen_shapes(copy.deepcopy(model).eval(), torch.zeros(2, *input_shape, device=parameter.device), paths)


def _seen_shapes(twin: nn.Module, x: Tensor, paths: set[str]) -> dict[str, Shape]:
    seen: dict[str, set[Shape | None]] = defaultdict(set)

    def look(path: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            plain = len(args) == 1 and not kwargs and isinstance(args[0], Tensor)
            seen[path].add(tuple(args[0].shape[1:]) if plain else None)

        return hook

    for path in paths:
        twin.get_submodule(path).register_forward_pre_hook(look(path), with_kwargs=True)
    with torch.no_grad():
        twin(x)
    return {path: shape for path, found in seen.items() if len(found) == 1 and (shape := next(iter(found))) is not None}


def _plain_form(part: nn.Module, shape: Shape) -> nn.Module | None:
    """Return a module that does what ``part`` does and calls plain layers; None if that cannot be."""
    shapes = KnownShapes(part, shape)
    tracer = Tracer(shapes, frozenset())
    mode = part.training
    try:
        graph = tracer.trace(part.eval())
    except Exception:  # noqa: BLE001 - of any code of the user's
        return None
    finally:
        part.train(mode)
    if tracer.closed:
        return None
    form = lift_layers(part, graph, shapes)
    return None if form is None else form.train(mode)


def _does_the_same(part: nn.Module, shape: Shape) -> bool:
    """Whether the plain form of a layer does what the layer does, in evaluation and in training."""
    try:
        ours = randomised_copy(part)
    except ModelError:
        return False
    theirs = copy.deepcopy(ours)
    form = _plain_form(ours, shape)
    if form is None:
        return False
    parameter = next(part.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad(), _kept_random_state():
        # After the training step, evaluation shows which statistics it left.
        for training in (False, True, False):
            found, expected = (_seeded(module.train(training), x) for module in (form, theirs))
            if difference(found, expected, _TOLERANCE) is not None:
                return False
    return True


def _seeded(module: nn.Module, x: Tensor) -> Tensor:
    torch.default_generator.manual_seed(0)
    result: Tensor = module(x.clone())
    return result


@contextmanager
def _kept_random_state() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield
