"""``dce``: Dynamic Channel Execution; each training step runs only some channels of a map, the best are kept.

Source: Dynamic Channel Execution (arXiv 1905.06435), faithful to its abstract only: channels are chosen per step by
combinatorial upper confidence bounds, and forward pass, backward pass and update touch the chosen ones alone. The
reward (first-order Taylor by default), its normalisation, and the freezing of the choice before the end are
reconstructions.
"""

from __future__ import annotations

import torch

from autogate.gates.bandit import ChannelBandit
from autogate.gates.family import DenseParts, Knobs, TrainingGate, kept_count, largest
from autogate.gates.gene import Gene
from autogate.gates.magnitude import ChannelMask, Magnitude, filter_norms
from autogate.policy import Gate
from autogate.records import Site


class BanditGate(ChannelMask):
    """Runs a map on the channels that a bandit chooses, step by step, and keeps the best.

    Until :meth:`begin` says that its own procedure is wanted, it is a static slice by magnitude.

    Args:
        dense: The layers around the map.
        k: Channels that run, and that stay.
        knobs: Reward, exploration, discount, and the share of the training after which the choice is frozen.
    """

    slices = True

    def __init__(self, dense: DenseParts, k: int, knobs: Knobs) -> None:
        norms = filter_norms(dense)
        super().__init__(largest(norms, k), 1.0)
        self._dense = dense
        self.reward = str(knobs["reward"])
        self.freeze = float(knobs["freeze"])
        self.bandit = ChannelBandit(len(norms), k, float(knobs["exploration"]), float(knobs["discount"]))
        self.frozen = True
        self.selected: torch.Tensor | None = None
        self._value: torch.Tensor | None = None
        self._gradient: torch.Tensor | None = None

    def begin(self) -> None:
        """Choose channels step by step in the next training."""
        self.frozen = False

    def set_progress(self, fraction: float) -> None:
        """Choose the channels of the next step; after the freeze, those with the best rewards so far."""
        if self.frozen:
            return
        if fraction >= self.freeze:
            self.frozen = True
            self.kept.copy_(self.bandit.best())
            self.selected = self.kept
        else:
            self.selected = self.bandit.select().to(self.kept.device)

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the map: of the selected channels alone, ``[N, k, H, W]``, in training; else masked."""
        if not self.training or self.selected is None:
            return super().forward(value, context)
        if not self.frozen and value.requires_grad:
            self._value = value.detach()
            value.register_hook(self._keep_gradient)  # type: ignore[no-untyped-call]
        return value

    def after_backward(self) -> None:
        """Reward the channels that ran."""
        if self.frozen or self.selected is None or self._value is None or self._gradient is None:
            return
        raw = self._raw_rewards(self._value, self._gradient)
        self.bandit.observe(self.selected, raw / raw.max().clamp(min=1e-12))
        self._value = self._gradient = None

    def describe(self) -> str:
        """The rewards seen so far."""
        mean = self.bandit.mean
        return f"step {self.bandit.step}, rewards {float(mean.min()):.3g} to {float(mean.max()):.3g}"

    def _keep_gradient(self, gradient: torch.Tensor) -> None:
        self._gradient = gradient

    def _raw_rewards(self, value: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        if self.reward == "activation":
            return value.abs().mean(dim=(0, 2, 3)).float()
        norm = self._dense.norm
        if self.reward == "bn_gamma" and norm is not None and norm.affine:
            return norm.weight.detach()[self.selected].abs().float()
        return (value.float() * gradient.float()).mean(dim=(0, 2, 3)).abs()


class Dce(Magnitude):
    """Learn in training which channels to keep, running only as many as will stay."""

    name = "dce"
    knobs = (
        Gene("reward", "taylor", choices=("taylor", "bn_gamma", "activation")),
        Gene("exploration", 0.3, low=0.0, high=10.0),
        Gene("discount", 0.0, low=0.0, high=1.0),
        Gene("freeze", 0.6, low=0.0, high=0.95),
    )

    def attach(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Rank the channels by their filters as they are now; training ranks them anew."""
        return BanditGate(dense, kept_count(site.channels, float(gate.genes["ratio"])), knobs)
