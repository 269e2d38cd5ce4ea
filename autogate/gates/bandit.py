"""Which channels to run next, as a bandit: combinatorial upper confidence bounds.

Source: CUCB (Chen, Wang, Yuan, ICML 2013; arXiv 1407.8339). Arms are channels; a super-arm is the k channels with the
highest index; rewards in [0, 1] are seen for the channels that ran. Reconstructions: channels as arms, the scale of
the exploration, and discounted averages, for rewards that drift; a discounted mean starts at the first reward, not at
0, which would take 1 / discount plays to forget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from autogate.gates.family import largest

_FORGETTING = 0.999


class ChannelBandit:
    """Keeps mean rewards and play counts of ``arms`` channels, and names the ``k`` to run.

    Args:
        arms: Number of channels.
        k: Channels that run at a time.
        exploration: Factor of the confidence bonus; 1 is the theorem's.
        discount: Weight of a new reward in the mean; 0 for the plain average.
    """

    def __init__(self, arms: int, k: int, exploration: float = 1.0, discount: float = 0.0) -> None:
        self.k = k
        self.exploration = exploration
        self.discount = discount
        self.step = 0
        self.mean = torch.zeros(arms, dtype=torch.float64)
        self.plays = torch.zeros(arms, dtype=torch.float64)

    def upper_bounds(self) -> torch.Tensor:
        """Return ``mean + exploration * sqrt(3 ln t / (2 T))`` of each arm, ``[arms]``.

        It is infinite before the first play.
        """
        bonus = torch.sqrt(1.5 * math.log(max(1, self.step)) / self.plays)
        return torch.where(self.plays == 0, math.inf, self.mean + self.exploration * bonus)

    def select(self) -> torch.Tensor:
        """Begin a step and return the channels to run, sorted, int64 ``[k]``."""
        self.step += 1
        return largest(self.upper_bounds(), self.k)

    def observe(self, selected: torch.Tensor, rewards: torch.Tensor) -> None:
        """Learn from the rewards, ``[k]`` in [0, 1], of the channels that ran."""
        # The counts are few and stay on the CPU, wherever the network is trained.
        selected, rewards = selected.cpu(), rewards.to(self.mean)
        first = self.plays[selected] == 0
        if self.discount > 0:
            plays = _FORGETTING * self.plays[selected] + 1
            weight = torch.where(first, 1.0, self.discount)
        else:
            plays = self.plays[selected] + 1
            weight = 1 / plays
        self.plays[selected] = plays
        self.mean[selected] += weight * (rewards - self.mean[selected])

    def state(self) -> dict[str, torch.Tensor]:
        """Return what was learnt so far."""
        return {"mean": self.mean, "plays": self.plays, "step": torch.tensor(self.step)}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what :meth:`state` returned."""
        self.mean.copy_(state["mean"])
        self.plays.copy_(state["plays"])
        self.step = int(state["step"])

    def best(self) -> torch.Tensor:
        """Return the channels with the highest mean reward, without bonus, sorted, int64 ``[k]``."""
        return largest(self.mean, self.k)
