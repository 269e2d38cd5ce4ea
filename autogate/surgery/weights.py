"""Networks and gates to and from safetensors bytes, and finished policies restored from them."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import nn

from autogate.errors import StorageError
from autogate.gates import TrainingGate
from autogate.models import filled, stored_once
from autogate.policy import Policy
from autogate.records import ExecutionPlan
from autogate.sites import Network
from autogate.surgery.compact_network import compact_form
from autogate.surgery.training_network import attach_gates, by_path
from autogate.system import one_line


def pack(model: nn.Module, gates: Mapping[str, nn.Module]) -> bytes:
    """Return the state of ``model`` and of ``gates`` by name; what has several names is stored once."""
    state = {f"model.{name}": value for name, value in stored_once(model).items()}
    for path, gate in gates.items():
        state |= {f"gate.{path}.{name}": value for name, value in stored_once(gate).items()}
    # A gate may share memory with the network.
    return safetensors.torch.save({name: value.clone() for name, value in state.items()})


def unpack(content: bytes, model: nn.Module, gates: Mapping[str, nn.Module]) -> None:
    """Load what :func:`pack` wrote into ``model`` and ``gates``.

    Raises:
        StorageError: If the content does not fit them.
    """
    state = safetensors.torch.load(content)
    try:
        model.load_state_dict(filled(_part(state, "model."), model))
        for path, gate in gates.items():
            gate.load_state_dict(filled(_part(state, f"gate.{path}."), gate))
    except RuntimeError as error:
        reason = one_line(error)
        raise StorageError(f"stored weights do not fit this network: {reason}") from None


def restore_gates(network: Network, policy: Policy, content: bytes) -> dict[str, TrainingGate]:
    """Load a trained policy into a network, in place, and return its trained gates by site.

    Args:
        network: The traced network; its weights are replaced.
        policy: The policy, canonical for the network.
        content: What :func:`pack` wrote of a network that was trained with this policy.

    Raises:
        StorageError: If the content does not fit the network and the policy.
    """
    gates = attach_gates(network, policy)
    unpack(content, network.model, by_path(gates))
    return gates


def restore_compact(network: Network, policy: Policy, content: bytes, plan: ExecutionPlan) -> nn.Module:
    """Load a trained policy into a network, as :func:`restore_gates` does, and return its compact form.

    ``plan`` says which executor runs at each site.
    """
    return compact_form(network, policy, restore_gates(network, policy, content), plan=plan)


def _part(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
