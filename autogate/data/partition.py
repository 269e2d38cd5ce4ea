"""Divide images at random, class by class."""

from __future__ import annotations

import torch
from torch import Tensor


def shuffled(count: int, seed: int) -> Tensor:
    """Return the positions 0 to ``count`` - 1 in random order, int64 ``[count]``."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def stratified(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Take ``count`` images so that every class gives its share.

    Args:
        labels: Class indices, int64 ``[N]``.
        count: Images to take; at least one of each class stays behind, so it may become fewer.
        seed: Seed of the choice.

    Returns:
        Positions of the images that stay and of those taken, int64, both in random order.
    """
    order = shuffled(len(labels), seed)
    # Rank every image within its class; the lowest relative ranks are taken, so the shares come out even.
    share = torch.empty(len(labels), dtype=torch.float64)
    last = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        members = order[labels[order] == label]
        share[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
        last[members[-1]] = True
    share[last] = 2.0
    ranked = order[torch.argsort(share[order], stable=True)]
    count = min(count, int((~last).sum()))
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[ranked[:count]] = True
    return order[~chosen[order]], order[chosen[order]]
