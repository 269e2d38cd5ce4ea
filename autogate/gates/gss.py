"""``gss``: Guided Structured Sparsity; a loss shrinks whole channels in training, and the smallest are removed.

Source: Guided Structured Sparsity (arXiv 1802.09902) and its official code: group lasso over the output channels of a
layer plus the inverse of the variance of their squared norms, with weights 0.001 and 0.01. The official code adds
these terms for every layer, here each gate adds them for its own: the layer that writes its map, or all that write its
group, whose channels go together. Also there: the form of Intel's distiller (variance of the norms). Reconstructions:
a form without scale and norms that count the normalisation in, for networks with batch normalisation, where the size
of a filter means nothing; control of the sparsity, which bisects the strength of the lasso towards the share of
channels that is to go; and removing a fixed number of channels once the loss has sorted them, and fine-tuning what is
left. The paper's results on CIFAR-10 cannot be reproduced from public material. Its variance term is known to fade
quickly in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from autogate.gates.family import DenseParts, Knobs, TrainingGate, largest
from autogate.gates.gene import Gene
from autogate.gates.registry import register_family
from autogate.gates.slices import ChannelMask, SliceFamily, filter_norms, squared_filter_norms, squared_reader_norms
from autogate.policy import Gate
from autogate.records import Site


def _norms(squared_norms: torch.Tensor) -> torch.Tensor:
    # The square root has no gradient at 0, where a group has nothing left to lose.
    return squared_norms.clamp(min=1e-12).sqrt()


def group_lasso(squared_norms: torch.Tensor) -> torch.Tensor:
    """Return the sum of the groups' norms; ``squared_norms`` is ``[groups]``."""
    return _norms(squared_norms).sum()


def inverse_variance(squared_norms: torch.Tensor) -> torch.Tensor:
    """Return ``1 / Var(q)``, the population variance of the squared norms: the official code."""
    return 1.0 / squared_norms.var(correction=0)


def inverse_variance_of_norms(squared_norms: torch.Tensor) -> torch.Tensor:
    """Return ``1 / Var(sqrt(q))`` with the unbiased variance: distiller."""
    return 1.0 / _norms(squared_norms).var()


def inverse_variation(squared_norms: torch.Tensor) -> torch.Tensor:
    """Return ``mean(q)^2 / Var(q)``, which does not change when all weights are scaled (reconstruction)."""
    return squared_norms.mean() ** 2 / squared_norms.var(correction=0)


# Powers of two by which the strength may be changed at the most.
_BRACKET = 6.0
_CONTROL_STEPS = 8
# Norm below which a group counts as gone, as a share of the largest.
_NEGLIGIBLE = 0.05


VARIANCE_FORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "inverse": inverse_variance,
    "norms": inverse_variance_of_norms,
    "scale_free": inverse_variation,
}


class StrengthControl:
    """Bisects the strength of the group lasso until the wanted share of the groups is negligible.

    The strength is moved, a step at a time, between a small and a large multiple of what was set.

    Args:
        target: Share of the groups that is to become negligible.
    """

    def __init__(self, target: float) -> None:
        self.target = target
        self.low, self.high = -_BRACKET, _BRACKET
        self.steps = 0

    @property
    def factor(self) -> float:
        """What the strength is multiplied with."""
        return math.exp2((self.low + self.high) / 2)

    def observe(self, norms: torch.Tensor, fraction: float) -> None:
        """Halve the bracket when the next of its steps is due, ``fraction`` of the sorting being over.

        Args:
            norms: Norm of each group, ``[C]``.
            fraction: In [0, 1].
        """
        if fraction * _CONTROL_STEPS < self.steps + 1:
            return
        self.steps += 1
        negligible = float((norms <= _NEGLIGIBLE * norms.max()).float().mean())
        middle = (self.low + self.high) / 2
        if negligible < self.target:
            self.low = middle
        else:
            self.high = middle


class StructureGate(ChannelMask):
    """Sorts channels by a loss, then removes the smallest and lets the rest recover.

    Until :meth:`begin` says that its own procedure is wanted, it is a static slice by magnitude.

    Args:
        dense: The layers that hold the channels.
        k: Channels that stay.
        knobs: Weights and form of the loss, its groups, and the share of the training in which it acts.
    """

    def __init__(self, dense: DenseParts, k: int, knobs: Knobs) -> None:
        super().__init__(dense, largest(filter_norms(dense), k), 1.0)
        self.knobs = dict(knobs)
        self.sorting = False
        self.control = StrengthControl(1 - k / len(dense.holders[0].channels)) if knobs["control"] == "bisect" else None

    def begin(self) -> None:
        """Sort channels in the next training."""
        self.sorting = True

    def set_progress(self, fraction: float) -> None:
        """End the sorting when its share of the training is over; until then, control its strength."""
        if not self.sorting:
            return
        structure = float(self.knobs["structure"])
        if self.control is not None and fraction < structure:
            self.control.observe(self.squared_norms().detach().sqrt(), fraction / structure)
        if fraction >= structure:
            self.sorting = False
            self.kept.copy_(largest(self.squared_norms().detach(), len(self.kept)))

    def forward(self, value: torch.Tensor, context: torch.Tensor, holder: int | None = None) -> torch.Tensor:
        """Return the channels, all while they are sorted, else without the removed ones."""
        return value if self.training and self.sorting else super().forward(value, context, holder)

    def training_state(self) -> dict[str, torch.Tensor]:
        """Whether channels are being sorted, and how far the control of the strength has come."""
        state = {"sorting": torch.tensor(self.sorting)}
        if self.control is not None:
            bracket = [self.control.low, self.control.high, float(self.control.steps)]
            state["control"] = torch.tensor(bracket, dtype=torch.float64)
        return state

    def restore_training(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on sorting as before."""
        self.sorting = bool(state["sorting"])
        if self.control is not None:
            low, high, steps = state["control"].tolist()
            self.control.low, self.control.high, self.control.steps = low, high, int(steps)

    def squared_norms(self) -> torch.Tensor:
        """Return the squared norm of each channel's group of weights, ``[C]``."""
        if self.knobs["axis"] == "in":
            return squared_reader_norms(self.dense)
        return squared_filter_norms(self.dense, folded=self.knobs["norms"] == "folded")

    def describe(self) -> str:
        """The range of the channels' norms."""
        norms = self.squared_norms().detach().sqrt()
        return f"norms {float(norms.min()):.3g} to {float(norms.max()):.3g}"

    @staticmethod
    def joint_loss(gates: Sequence[StructureGate]) -> torch.Tensor | None:
        """Return the weighted sum of group lasso and variance term over the layers; None where none is sorted."""
        terms = []
        for gate in gates:
            if gate.sorting and gate.training:
                squared, knobs = gate.squared_norms(), gate.knobs
                variance = VARIANCE_FORMS[str(knobs["variance_form"])](squared)
                strength = float(knobs["group_lasso"]) * (1.0 if gate.control is None else gate.control.factor)
                terms.append(strength * group_lasso(squared) + float(knobs["variance"]) * variance)
        return torch.stack(terms).sum() if terms else None


@register_family
class Gss(SliceFamily):
    """Remove the channels that a structured-sparsity loss has made small."""

    name = "gss"
    sensitivity_stand_in = "magnitude"
    knobs = (
        Gene("group_lasso", 0.001, low=0.0, high=10.0),
        Gene("variance", 0.01, low=0.0, high=10.0),
        Gene("variance_form", "inverse", choices=tuple(VARIANCE_FORMS)),
        Gene("axis", "out", choices=("out", "in")),
        Gene("norms", "weights", choices=("weights", "folded")),
        Gene("control", "fixed", choices=("fixed", "bisect")),
        Gene("structure", 0.6, low=0.0, high=0.95),
    )

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> TrainingGate:
        """Rank the channels by their filters as they are now; training may rank them anew."""
        return StructureGate(dense, self.kept(site, gate), knobs)
