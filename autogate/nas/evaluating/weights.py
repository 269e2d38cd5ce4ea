"""Networks and gates to and from safetensors bytes."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import nn

from autogate.errors import StorageError
from autogate.gates import TrainingGate
from autogate.policy import Gate
from autogate.system import one_line
from autogate.training import SharedGates


def pack(model: nn.Module, gates: Mapping[str, nn.Module]) -> bytes:
    """Return the state of ``model`` and of ``gates`` by name."""
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    for path, gate in gates.items():
        state |= {f"gate.{path}.{name}": value for name, value in gate.state_dict().items()}
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in state.items()})


def unpack(content: bytes, model: nn.Module, gates: Mapping[str, nn.Module]) -> None:
    """Load what :func:`pack` wrote into ``model`` and ``gates``.

    Raises:
        StorageError: If the content does not fit them.
    """
    state = safetensors.torch.load(content)
    try:
        model.load_state_dict(_part(state, "model."))
        for path, gate in gates.items():
            gate.load_state_dict(_part(state, f"gate.{path}."))
    except RuntimeError as error:
        reason = one_line(error)
        raise StorageError(f"stored weights do not fit this network: {reason}") from None


def _part(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def bank_paths(bank: SharedGates) -> dict[str, TrainingGate]:
    """Return the gates of a bank under one name each."""
    return {bank_path(site, gate): module for (site, gate), module in bank.items()}


def bank_path(site: str, gate: Gate) -> str:
    """Return the name under which the weights of a gate at a site are stored."""
    return f"{site}={gate}"
