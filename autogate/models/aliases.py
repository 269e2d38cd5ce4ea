"""Weights under several names: tied ones, and layers that a network holds twice. They are stored once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def stored_once(module: nn.Module) -> dict[str, Tensor]:
    """Return a network's state on the CPU: each parameter and buffer under its first name, in memory of its own."""
    kept: dict[str, Tensor] = {}
    seen: set[int] = set()
    storages: set[int] = set()
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) in seen:
            continue
        seen.add(id(value))
        tensor = value.detach().cpu().contiguous()
        # Files of safetensors hold no two tensors in the same memory.
        if tensor.untyped_storage().data_ptr() in storages:
            tensor = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
        kept[name] = tensor
    return kept


def filled(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return ``state`` with the names it lacks of parameters and buffers that it holds under another name.

    Args:
        state: Tensors by name.
        module: The network that they are for.
    """
    own = module.state_dict(keep_vars=True)
    held = {id(value): state[name] for name, value in own.items() if name in state}
    return {
        **state,
        **{name: held[id(value)] for name, value in own.items() if name not in state and id(value) in held},
    }
