"""Layers that do what PyTorch's own class does: only those can be sliced, folded, passed over or made anew."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)

# What decides the result; a convolution's forward pass is in a method of its own.
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
