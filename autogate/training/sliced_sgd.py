"""SGD that updates, of some parameters, only the part that was in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from autogate.surgery import Selected


class SlicedSGD(torch.optim.SGD):
    """SGD with Nesterov momentum; what was not in use keeps value and momentum, and does not decay.

    Args:
        groups: Parameter groups.
        in_use: Returns, before each step, the parameters of which only a part was used, with the positions used in
            each dimension.
        **settings: As of :class:`torch.optim.SGD`; momentum must be Nesterov's.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], in_use: Callable[[], Mapping[torch.Tensor, Selected]], **settings: Any
    ) -> None:
        super().__init__(groups, **settings)
        self._in_use = in_use

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        in_use = self._in_use()
        for group in self.param_groups:
            parts = [p for p in group["params"] if p in in_use and p.grad is not None]
            if parts:
                self._step_parts(parts, [_index(p, in_use[p]) for p in parts], group)
            for parameter in parts:
                parameter.grad = None
        super().step()

    def _step_parts(
        self, parameters: Sequence[torch.Tensor], at: Sequence[tuple[torch.Tensor, ...]], group: Mapping[str, Any]
    ) -> None:
        buffers = [self._buffer(parameter) for parameter in parameters]
        values = [parameter[index] for parameter, index in zip(parameters, at, strict=True)]
        gradients = [p.grad[index] for p, index in zip(parameters, at, strict=True) if p.grad is not None]
        momenta = [buffer[index] for buffer, index in zip(buffers, at, strict=True)]
        torch._foreach_add_(gradients, values, alpha=group["weight_decay"])
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        torch._foreach_add_(gradients, momenta, alpha=group["momentum"])
        torch._foreach_add_(values, gradients, alpha=-group["lr"])
        for parameter, buffer, index, value, momentum in zip(parameters, buffers, at, values, momenta, strict=True):
            parameter[index] = value
            buffer[index] = momentum

    def _buffer(self, parameter: torch.Tensor) -> torch.Tensor:
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: torch.Tensor = state["momentum_buffer"]
        return buffer


def _index(parameter: torch.Tensor, part: Selected) -> tuple[torch.Tensor, ...]:
    """Return an index of the part in the first dimensions of ``parameter``."""
    chosen = [
        torch.arange(size, device=parameter.device) if positions is None else positions
        for size, positions in zip(parameter.shape, part, strict=False)
    ]
    return tuple(positions.view(-1, *[1] * (len(chosen) - 1 - i)) for i, positions in enumerate(chosen))
