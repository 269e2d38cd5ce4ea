"""Which layers gates can change: exactly torch's own, without hooks or parametrisations."""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from autogate.errors import ModelError

Layer = TypeVar("Layer", bound=nn.Module)

# What decides the result; a convolution's forward pass is in a separate method.
_DECIDING = ("__call__", "forward", "_conv_forward")


def is_exact_layer(module: object, kind: type[Layer]) -> TypeGuard[Layer]:
    """Whether ``module`` is a ``kind``, or of a subclass that changes nothing about its forward pass.

    Weight standardisation, padding by the size of the input, or an activation inside a normalisation are written as
    subclasses, and are no such layers.
    """
    return isinstance(module, kind) and all(
        getattr(type(module), name, None) is getattr(kind, name, None) and name not in vars(module)
        for name in _DECIDING
    )


def is_one_of(module: object, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether ``module`` is a plain layer of one of these kinds."""
    return any(is_exact_layer(module, kind) for kind in kinds)


def check_network(model: Any, input_shape: Any) -> None:
    """Check what tracing takes for granted.

    Raises:
        ModelError: If ``model`` is no module or its weights are not plain float32 tensors, or ``input_shape`` is not
            three positive numbers.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a network must be a torch.nn.Module, not {type(model).__name__}")
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise ModelError(f"an input shape is (channels, height, width), three positive numbers, not {input_shape!r}")
    name = type(model).__name__
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ModelError(f"{name} wraps a network; pass its .module")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise ModelError(f"{name} is compiled or scripted; pass the network it was made of")
    for path, parameter in model.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise ModelError(f"{name}: {path} has no shape yet; run the network once on an image before passing it")
        if parameter.is_meta:
            raise ModelError(f"{name}: {path} is on the meta device; load weights first")
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise ModelError(f"{name}: {path} is {parameter.dtype}; pass model.float()")
    for path, module in model.named_modules():
        # The hooks of weight and spectral norm and of torch's pruning compute the weight again in every pass.
        if parametrize.is_parametrized(module) or (module._forward_pre_hooks and hasattr(module, "weight")):
            raise ModelError(
                f"{name}: the weight of {path} is computed in every pass (weight norm, spectral norm, pruning); "
                "make it permanent first, as torch.nn.utils.parametrize.remove_parametrizations or prune.remove do"
            )
