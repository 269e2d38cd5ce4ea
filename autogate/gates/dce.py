"""``dce``: Dynamic Channel Execution; each training step runs only some channels of a map, the best are kept.

Source: Dynamic Channel Execution (arXiv 1905.06435), faithful to its abstract only: channels are chosen per step by
combinatorial upper confidence bounds, and forward pass, backward pass and update touch the chosen ones alone. All else
is a reconstruction: one bandit per map or group, whose arms are channels and whose steps are batches; that it chooses
a fixed number, a share of the channels rounded up; the reward (first-order Taylor by default) and its normalisation by
the largest; the scale of the exploration and the discount; that momentum and weight decay pass over what did not run;
and the freezing of the choice before the end, by mean reward without bonus. The reward ``bn_gamma`` needs a
normalisation right after a layer; where none follows, as in DenseNet, Taylor's stands in.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from autogate.gates.bandit import ChannelBandit
from autogate.gates.family import DenseParts, Knobs, TrainingGate, largest
from autogate.gates.gene import Gene
from autogate.gates.registry import register_family
from autogate.gates.slices import ChannelMask, SliceFamily, filter_norms
from autogate.policy import Gate
from autogate.records import Site


class _Watched:
    """Channels of one step, ``[N, k, H, W]``, with their gradient once there is one."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value.detach()
        self.gradient: torch.Tensor | None = None
        value.register_hook(self._keep)  # type: ignore[no-untyped-call]

    def _keep(self, gradient: torch.Tensor) -> None:
        self.gradient = gradient

    def taylor(self) -> torch.Tensor:
        """Return the mean of value times gradient, the first-order effect of leaving a channel out, ``[k]``."""
        if self.gradient is None:
            return self.value.new_zeros(self.value.shape[1], dtype=torch.float32)
        return (self.value.float() * self.gradient.float()).mean(dim=(0, 2, 3))


class BanditGate(ChannelMask):
    """Runs a map or group on the channels that a bandit chooses, step by step, and keeps the best.

    Until :meth:`begin` says that its own procedure is wanted, it is a static slice by magnitude.

    Args:
        dense: The layers that hold the channels.
        k: Channels that run, and that stay.
        knobs: Reward, exploration, discount, and the share of the training after which the choice is frozen.
    """

    slices = True

    def __init__(self, dense: DenseParts, k: int, knobs: Knobs) -> None:
        norms = filter_norms(dense)
        super().__init__(dense, largest(norms, k), 1.0)
        self.reward = str(knobs["reward"])
        self.freeze = float(knobs["freeze"])
        self.bandit = ChannelBandit(len(norms), k, float(knobs["exploration"]), float(knobs["discount"]))
        self.frozen = True
        self.selected: torch.Tensor | None = None
        self._watched: list[_Watched] = []

    def begin(self) -> None:
        """Choose channels step by step in the next training."""
        self.frozen = False

    def set_progress(self, fraction: float) -> None:
        """Choose the channels of the next step; after the freeze, those with the best rewards so far."""
        self._watched = []
        if self.frozen:
            return
        if fraction >= self.freeze:
            self.frozen = True
            if self.bandit.step:
                self.kept.copy_(self.bandit.best())
            self.selected = self.kept
        else:
            self.selected = self.bandit.select().to(self.kept.device)

    def forward(self, value: torch.Tensor, context: torch.Tensor, holder: int | None = None) -> torch.Tensor:
        """Return the channels: in training the selected ones alone, ``[N, k, H, W]``; else masked where read."""
        slicing = self.training and self.selected is not None
        writes = holder is not None and not self.dense.holders[holder].reads
        # A map is judged by what is read of it, a group by what each of its layers writes.
        if slicing and not self.frozen and (writes or holder is None) and value.requires_grad:
            self._watched.append(_Watched(value))
        return value if slicing or writes else super().forward(value, context, holder)

    def after_backward(self) -> None:
        """Reward the channels that ran."""
        if self.frozen or self.selected is None or not self._watched:
            return
        raw = self._raw_rewards()
        self.bandit.observe(self.selected, raw / raw.max().clamp(min=1e-12))
        self._watched = []

    def training_state(self) -> dict[str, torch.Tensor]:
        """The bandit, and whether the choice is frozen."""
        return {**self.bandit.state(), "frozen": torch.tensor(self.frozen)}

    def restore_training(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on with the bandit as it was."""
        self.bandit.restore(state)
        self.frozen = bool(state["frozen"])
        self.selected = self.kept if self.frozen and self.bandit.step else None

    def describe(self) -> str:
        """The rewards seen so far."""
        mean = self.bandit.mean
        return f"step {self.bandit.step}, rewards {float(mean.min()):.3g} to {float(mean.max()):.3g}"

    def _raw_rewards(self) -> torch.Tensor:
        if self.reward == "activation":
            return torch.stack([watched.value.abs().mean(dim=(0, 2, 3)).float() for watched in self._watched]).sum(0)
        norms = [holder.norm for holder in self.dense.holders if holder.norm is not None and holder.norm.affine]
        if self.reward == "bn_gamma" and norms:
            return torch.stack([norm.weight.detach()[self.selected].abs().float() for norm in norms]).sum(0)
        return torch.stack([watched.taylor() for watched in self._watched]).sum(0).abs()


@register_family
class Dce(SliceFamily):
    """Learn in training which channels to keep, running only as many as will stay."""

    name = "dce"
    sensitivity_stand_in = "magnitude"
    slices_in_training = True
    knobs = (
        Gene("reward", "taylor", choices=("taylor", "bn_gamma", "activation")),
        Gene("exploration", 0.3, low=0.0, high=10.0),
        Gene("discount", 0.0, low=0.0, high=1.0),
        Gene("freeze", 0.6, low=0.0, high=0.95),
    )

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Rank the channels by their filters as they are now; training ranks them anew."""
        return BanditGate(dense, self.kept(site, gate), knobs)
