"""SGD that updates, of some parameters, only the part that was in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
            for parameter in group["params"]:
                if parameter in in_use and parameter.grad is not None:
                    self._step_part(parameter, in_use[parameter], group)
                    parameter.grad = None
        super().step()

    def _step_part(self, parameter: torch.Tensor, part: Selected, group: Mapping[str, Any]) -> None:
        index = _index(parameter, part)
        state = self.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        assert parameter.grad is not None  # noqa: S101 - the caller looked
        value = parameter[index]
        gradient = parameter.grad[index] + group["weight_decay"] * value
        momentum = group["momentum"] * state["momentum_buffer"][index] + gradient
        state["momentum_buffer"][index] = momentum
        parameter[index] = value - group["lr"] * (gradient + group["momentum"] * momentum)


def _index(parameter: torch.Tensor, part: Selected) -> tuple[torch.Tensor, ...]:
    """Return an index of the part in the first dimensions of ``parameter``."""
    chosen = [
        torch.arange(size, device=parameter.device) if positions is None else positions
        for size, positions in zip(parameter.shape, part, strict=False)
    ]
    return tuple(positions.view(-1, *[1] * (len(chosen) - 1 - i)) for i, positions in enumerate(chosen))
