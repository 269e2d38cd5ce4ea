"""The budget loss of gates whose cost varies: how far they are open, against how far they should be.

Source: the shared form of DynConv and LAUDNet. A network term pulls the cost of all gates together to the target;
bounds hold each gate at its target first and free it within the first third of the training.
"""

from __future__ import annotations

import math

import torch

_FREE_AFTER = 0.33


def bounds(target: float, progress: float) -> tuple[float, float]:
    """Return the lowest and highest opening that costs a gate nothing after a share ``progress`` of the training.

    ``p = cos^2(pi / 2 * clip(progress / 0.33, 0, 1))``, ``[p * target, 1 - p * (1 - target)]``.
    """
    p = math.cos(math.pi / 2 * min(1.0, max(0.0, progress / _FREE_AFTER))) ** 2
    return p * target, 1 - p * (1 - target)


def budget_loss(
    openings: torch.Tensor, targets: tuple[float, ...], macs: tuple[int, ...], progress: float
) -> torch.Tensor:
    """Return ``(F / F_dense - t)^2`` over all gates, plus the mean squared distance of each one to its bounds.

    Args:
        openings: Mean opening of each gate, ``[gates]``.
        targets: Opening each gate is to have; with different ones, the network's is their mean weighted by MACs.
        macs: MACs each gate controls.
        progress: Share of the training that has passed.
    """
    weights = openings.new_tensor(macs) / sum(macs)
    network = (weights * (openings - openings.new_tensor(targets))).sum() ** 2
    low, high = (openings.new_tensor(side) for side in zip(*(bounds(t, progress) for t in targets), strict=True))
    outside = (openings - high).clamp(min=0) ** 2 + (low - openings).clamp(min=0) ** 2
    return network + outside.mean()
