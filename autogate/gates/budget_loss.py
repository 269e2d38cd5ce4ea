"""The budget loss of gates whose cost varies: how far they are open, against how far they should be.

Source: the shared form of DynConv and LAUDNet. A network term pulls the cost of all gates together to the target;
bounds hold each gate at its target first and free it within the first third of the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

_FREE_AFTER = 0.33


def bounds(target: float, progress: float) -> tuple[float, float]:
    """Return the lowest and highest opening that costs a gate nothing after a share ``progress`` of the training.

    ``p = cos^2(pi / 2 * clip(progress / 0.33, 0, 1))``, ``[p * target, 1 - p * (1 - target)]``.
    """
    p = math.cos(math.pi / 2 * min(1.0, max(0.0, progress / _FREE_AFTER))) ** 2
    return p * target, 1 - p * (1 - target)


def budget_loss(
    openings: torch.Tensor, targets: Sequence[float], macs: Sequence[Mapping[str, int]], progress: float
) -> torch.Tensor:
    """Return ``(F - F_target)^2`` over all gates, plus the mean squared distance of each one to its bounds.

    ``F`` is the share that is left of the MACs that gates control. A layer that several gates reach, such as a
    channel gate inside a gated block, runs at the product of their openings.

    Args:
        openings: Mean opening of each gate, ``[gates]``.
        targets: Opening each gate is to have.
        macs: MACs of the layers each gate reaches, by name.
        progress: Share of the training that has passed.
    """
    layers = {name: count for reached in macs for name, count in reached.items()}
    reaches = torch.tensor([[name in reached for reached in macs] for name in layers], device=openings.device)
    weights = openings.new_tensor(list(layers.values())) / sum(layers.values())

    def cost(opened: torch.Tensor) -> torch.Tensor:
        return (weights * torch.where(reaches, opened, 1.0).prod(dim=1)).sum()

    network = (cost(openings) - cost(openings.new_tensor(targets))) ** 2
    low, high = (openings.new_tensor(side) for side in zip(*(bounds(t, progress) for t in targets), strict=True))
    outside = (openings - high).clamp(min=0) ** 2 + (low - openings).clamp(min=0) ** 2
    return network + outside.mean()
