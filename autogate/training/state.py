"""The state of a training as bytes, so that an interrupted one continues with equal results."""

from __future__ import annotations

from typing import Protocol

import safetensors.torch
import torch
from torch import nn

from autogate.errors import TrainingError
from autogate.gates import TrainingGate
from autogate.system import one_line

_HOST_RNG, _DEVICE_RNG, _SEEN = "rng.host", "rng.device", "seen"


class Checkpointer(Protocol):
    """Keeps the state of one training somewhere safe."""

    def load(self) -> bytes | None:
        """Return the state that was saved last, or None."""

    def is_due(self) -> bool:
        """Whether the state should be saved now."""

    def save(self, state: bytes, images: int) -> None:
        """Save a state after ``images`` images were seen."""


def pack_training(
    form: nn.Module, gates: dict[str, TrainingGate], optimiser: torch.optim.Optimizer, device: torch.device, images: int
) -> bytes:
    """Return weights, momenta, the further state of gates, random numbers to come, and images seen."""
    state = {f"value.{name}": value for name, value in _values(form).items()}
    for name, parameter in form.named_parameters():
        momentum = optimiser.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            state[f"momentum.{name}"] = momentum
    for path, gate in gates.items():
        state |= {f"gate.{path}.{name}": value for name, value in gate.training_state().items()}
    state[_HOST_RNG], state[_SEEN] = torch.get_rng_state(), torch.tensor(images)
    if device.type == "cuda":
        state[_DEVICE_RNG] = torch.cuda.get_rng_state(device)
    # A copy each, since some may share memory, which the format does not know.
    return safetensors.torch.save(
        {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    )


def unpack_training(
    content: bytes,
    form: nn.Module,
    gates: dict[str, TrainingGate],
    optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> int:
    """Restore what :func:`pack_training` wrote, in place, and return the number of images seen.

    Raises:
        TrainingError: If it is the state of another training.
    """
    state = safetensors.torch.load(content)
    try:
        with torch.no_grad():
            for name, value in _values(form).items():
                value.copy_(state[f"value.{name}"])
            for name, parameter in form.named_parameters():
                if (momentum := state.get(f"momentum.{name}")) is not None:
                    optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
        for path, gate in gates.items():
            prefix = f"gate.{path}."
            gate.restore_training(
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            )
        torch.set_rng_state(state[_HOST_RNG])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state[_DEVICE_RNG], device)
        return int(state[_SEEN])
    except (KeyError, RuntimeError) as error:
        reason = one_line(error, 100)
        raise TrainingError(f"the stored state of the training does not fit the network ({reason})") from None


def _values(form: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(form.named_parameters()), **dict(form.named_buffers())}
