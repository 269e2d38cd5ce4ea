"""``lcnet``: per input, a small network decides whether a block (L-Net) or which channels (C-Net) run.

Source: LC-Net (arXiv 2007.15151), faithful to its abstract only: decisions per instance, two levels, and
retained outputs scaled by the predictor's own score. Everything else is a reconstruction: squeeze, one
hidden layer of max(C / 16, 8), sigmoid; a hard threshold whose gradient an estimator passes on; both biases start
so that scores are about 0.9, those of channels with large filters above those with small ones. Training begins with all
gates open, for a share of it rather than for five epochs, so that short trainings have it too; then a budget loss holds
each gate near its target and frees it. The weight of that loss is DynConv's. Evaluation has no noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates.budget_loss import budget_loss
from autogate.gates.estimators import ESTIMATORS
from autogate.gates.family import CompactEditor, DenseParts, Family, Knobs, TrainingGate, indivisible_reason
from autogate.gates.gene import GRANULARITY, Gene, granularity_of
from autogate.gates.registry import register_family
from autogate.gates.slices import filter_norms
from autogate.policy import Gate, GeneValue
from autogate.records import Site, SiteKind

_OPEN_BIAS = math.log(0.9 / 0.1)
# Of the logit of the channel with the largest filter over that with the smallest: 0.95 against 0.81.
_HEAD_START = 1.5
_SCALES = {"score": 1.0, "2score": 2.0}
# Channels that kernels compute together.
_BLOCK = 8
# Channels of a map that run at the least: no kernel runs on none, and torch.export needs to know of two.
_FEWEST = 2


class Predictor(nn.Module):
    """Squeeze, one hidden layer, and the logit of a score per output."""

    def __init__(self, channels: int, outputs: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 8)
        self.hidden = nn.Linear(channels, hidden)
        self.score = nn.Linear(hidden, outputs)
        # Wide enough that inputs differ in their scores, narrow enough that all scores start near 0.9.
        nn.init.normal_(self.score.weight, std=0.1)
        nn.init.constant_(self.score.bias, _OPEN_BIAS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores' logits, ``[N, C, H, W] -> [N, outputs]``."""
        logits: torch.Tensor = self.score(F.relu(self.hidden(x.mean(dim=(2, 3)))))
        return logits


class ThresholdGate(TrainingGate):
    """Opens where the score reaches ``tau`` and scales what it lets pass.

    Args:
        predictor: Scores the outputs.
        macs: MACs of the layers the gate reaches, by name.
        genes: Threshold, scale and target.
        knobs: Estimator, weight of the budget loss, share of the training with open gates, and how much faster than
            the network the gate learns.
    """

    def __init__(
        self, predictor: Predictor, macs: Mapping[str, int], genes: Mapping[str, GeneValue], knobs: Knobs
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.macs = macs
        self.tau = float(genes["tau"])
        self.scale = str(genes["scale"])
        self.target = float(genes["target"])
        self.granularity = granularity_of(genes)
        self.estimator = ESTIMATORS[str(knobs["estimator"])]
        self.budget_weight = float(knobs["budget_weight"])
        self.warm_up = float(knobs["warm_up"])
        # A mean over channels leaves each one a small share of the gradient.
        self.lr_factor = float(knobs["gate_lr"]) * math.sqrt(predictor.score.out_features)
        self.progress = 1.0
        self.opening: torch.Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to the last step: a copy of the gate cannot share its graph."""
        return {**self.__dict__, "opening": None}

    def set_progress(self, fraction: float) -> None:
        """Move along the schedules; negative while gates are still held open."""
        self.progress = (fraction - self.warm_up) / (1.0 - self.warm_up)

    def describe(self) -> str:
        """How far the gate was open."""
        return "held open" if self.opening is None else f"open {float(self.opening.detach()):.3f}"

    @staticmethod
    def joint_loss(gates: Sequence[ThresholdGate]) -> torch.Tensor | None:
        """Return the weighted budget loss of all gates; None before a forward pass and while they are held open."""
        counted = [(gate, gate.opening) for gate in gates if gate.opening is not None]
        if not counted:
            return None
        openings = torch.stack([opening for _, opening in counted])
        targets, macs = [gate.target for gate, _ in counted], [gate.macs for gate, _ in counted]
        first = counted[0][0]
        return first.budget_weight * budget_loss(openings, targets, macs, first.progress)

    def open_and_scale(self, context: torch.Tensor) -> torch.Tensor:
        """Return the factor of each output, ``[N, outputs]``: 0 where shut, else the scale."""
        logits = self.predictor(context)
        score = torch.sigmoid(logits)
        if self.training:
            gate = self._trained(logits)
        else:
            tau = torch.quantile(score, 1.0 - self.target) if self.as_trained else self.tau
            gate = (score >= tau).to(score.dtype)
            self.decision = gate.sum(dim=1).long() * self.granularity
        factor: torch.Tensor = gate * scale_of(score, self.scale)
        return factor

    def _trained(self, logits: torch.Tensor) -> torch.Tensor:
        self.opening = None
        if self.progress < 0:
            return torch.ones_like(logits)
        gate = self.estimator(logits - math.log(self.tau / (1 - self.tau)), min(1.0, self.progress))
        self.opening = gate.mean()
        return gate


def _fewest_groups(groups: int, granularity: int) -> int:
    return min(groups, math.ceil(_FEWEST / granularity))


def _head_start(norms: torch.Tensor) -> torch.Tensor:
    """Return, by the rank of their filters, what channels' logits start above or below the others', ``[C] -> [C]``."""
    ranks = norms.argsort().argsort().to(torch.float32)
    return _HEAD_START * (ranks / max(1, len(norms) - 1) - 0.5)


def scale_of(score: torch.Tensor, scale: str) -> torch.Tensor:
    """Return what a kept output is multiplied with; same shape as ``score``."""
    return score * _SCALES[scale] if scale in _SCALES else torch.ones_like(score)


class LayerGate(ThresholdGate):
    """L-Net in training form: the whole block, open or shut per image."""

    def __init__(
        self,
        predictor: Predictor,
        macs: Mapping[str, int],
        genes: Mapping[str, GeneValue],
        knobs: Knobs,
        residual: bool,
    ) -> None:
        super().__init__(predictor, macs, genes, knobs)
        self.residual = residual

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the scaled addend of a residual unit, or the mixture of a plain one, ``[N, C, H, W]``."""
        factor = self.open_and_scale(context)[:, :, None, None]
        if self.residual:
            return value * factor
        shut = (factor == 0).to(value.dtype)
        return value * factor + context * shut


class ChannelGate(ThresholdGate):
    """C-Net in training form: each channel of a map, or group of neighbouring ones, open or shut per image."""

    def forward(self, value: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return the scaled map, ``[N, C, H, W]``; ``context`` is the producer's input."""
        factor = self.open_and_scale(context).repeat_interleave(self.granularity, dim=1)
        return value * factor[:, :, None, None]


class SkippedBlock(nn.Module):
    """L-Net in compact form: the branch runs for the images whose gate is open, and for no other."""

    def __init__(self, gate: LayerGate, branch: nn.Module, finish: nn.Module | None) -> None:
        super().__init__()
        self.gate = gate
        self.branch = branch
        self.finish = finish
        self.scripted: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map the block's input to its result, ``[N, C, H, W] -> [N, C, H, W]``."""
        score = torch.sigmoid(self.gate.predictor(x))
        if torch.compiler.is_exporting():
            # A scripted decision is one that the data cannot change, and a program cannot know.
            tau = self.gate.tau if self.scripted is None else -math.inf if self.scripted else math.inf
            chosen: torch.Tensor = torch.cond(score.view(()) >= tau, self._run, _hand_on, (x, score))
            return chosen
        is_open = score[:, 0] >= self.gate.tau
        if self.scripted is not None:
            is_open = torch.arange(len(x), device=x.device) < self.scripted
        index = is_open.nonzero()[:, 0]
        if len(index) == len(x):
            return self._run(x, score)
        if len(index) == 0:
            return x
        result = x.clone()
        result[index] = self._run(x[index], score[index])
        return result

    def _run(self, x: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
        value = self.branch(x) * scale_of(score, self.gate.scale)[:, :, None, None]
        if self.gate.residual:
            value = value + x
        result: torch.Tensor = value if self.finish is None else self.finish(value)
        return result


def _hand_on(x: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    # torch.cond forbids a branch that returns its own input.
    return x.clone()


class ChannelSelect(nn.Module):
    """C-Net in compact form: says which channels run and what they are scaled with.

    With more than one image the channels that any image needs run, and each image's own factors follow.
    """

    def __init__(self, gate: ChannelGate) -> None:
        super().__init__()
        self.gate = gate
        self.fewest = _fewest_groups(gate.predictor.score.out_features, gate.granularity)
        self.scripted: int | None = None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the groups of channels to run, int64 ``[k]``, and their factors, ``[N, k]``."""
        score = torch.sigmoid(self.gate.predictor(x))
        is_open = score >= self.gate.tau
        if self.scripted is not None:
            index = score.mean(dim=0).topk(self.scripted // self.gate.granularity).indices
            is_open = torch.ones_like(is_open)
        else:
            needed = is_open.any(dim=0)
            # The first ones run where fewer are open, with a factor of 0.
            few = self.fewest
            needed = torch.cat([needed[:few] | (needed.sum() < few), needed[few:]])
            index = needed.nonzero()[:, 0]
            torch._check(index.shape[0] >= self.fewest)
            torch._check(index.shape[0] <= score.shape[1])
        factor = scale_of(score, self.gate.scale) * is_open.to(score.dtype)
        return index, factor.index_select(1, index)


@register_family
class LcNet(Family):
    """Decide per input which blocks and channels run, and scale what they give."""

    name = "lcnet"
    kinds = frozenset[SiteKind]({"block", "map"})
    varies = True
    has_weights = True
    reads_whole_input = True
    knobs = (
        Gene("estimator", "ste", choices=tuple(ESTIMATORS)),
        Gene("budget_weight", 10.0, low=0.0, high=1000.0),
        Gene("warm_up", 0.1, low=0.0, high=0.9),
        # With the network's own rate, gates would hardly leave their start in a short training.
        Gene("gate_lr", 20.0, low=0.1, high=1000.0),
    )

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``target``: mean opening aimed at; ``tau``: threshold; ``scale``: of what is kept.

        At a map also ``granularity``: neighbouring channels that open or shut together, by one score.
        """
        genes = (
            Gene("target", 0.5, low=0.0, high=1.0),
            Gene("tau", 0.5, low=0.01, high=0.99),
            Gene("scale", "score", choices=("score", "2score", "none")),
            Gene("reduction", 16, low=1, high=1024),
        )
        return (*genes, GRANULARITY) if kind == "map" else genes

    def test_genes(self, kind: SiteKind) -> tuple[Mapping[str, GeneValue], ...]:
        """A high threshold, so that gates shut, with each scale of what is kept."""
        if kind == "block":
            return ({"tau": 0.9}, {"scale": "none", "tau": 0.899})
        return ({"tau": 0.9}, {"tau": 0.9, "scale": "2score"}, {"tau": 0.9, "granularity": 4})

    def unsupported_reason(self, site: Site) -> str | None:
        """A channel gate needs a producer, and no per-channel weights between producer and consumer."""
        if (reason := super().unsupported_reason(site)) is not None or site.kind == "block":
            return reason
        if not site.has_producer:
            return "no single convolution writes the map"
        return None if site.plain_chain else "layers with per-channel weights stand between producer and consumer"

    def invalid_reason(self, site: Site, gate: Gate) -> str | None:
        """Groups must fill the channels."""
        return indivisible_reason(site, gate) if site.kind == "map" else None

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> ThresholdGate:
        """Return the gate with about 0.9 of it open."""
        reduction = int(gate.genes["reduction"])
        macs = {conv.name: conv.macs for conv in site.convs}
        if site.kind == "block":
            return LayerGate(Predictor(site.channels, 1, reduction), macs, gate.genes, knobs, site.residual)
        norms = filter_norms(dense).view(-1, granularity_of(gate.genes)).mean(dim=1)
        predictor = Predictor(site.convs[0].in_channels, len(norms), reduction)
        bias = predictor.score.bias.data
        bias += _head_start(norms).to(bias.device)
        return ChannelGate(predictor, macs, gate.genes, knobs)

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Wrap the block in a branch, or let producer and consumer run on the selected channels."""
        if isinstance(trained, LayerGate):
            editor.replace_block(site.name, lambda branch, finish: SkippedBlock(trained, branch, finish))
        else:
            assert isinstance(trained, ChannelGate)  # noqa: S101 - attach() made it
            editor.select_channels(site.name, ChannelSelect(trained), trained.granularity)

    def no_saving_reason(self, site: Site, batch_size: int) -> str | None:
        """Channels chosen per image leave a batch of several with nearly all of them."""
        if site.kind == "map" and batch_size > 1:
            return f"channels chosen per image cannot be left out of a batch of {batch_size}"
        return None

    def decisions(self, site: Site, gate: Gate, batch_size: int) -> tuple[int | None, ...]:
        """A ladder of open images at a block site, of open channels at a map site.

        Kernels work on blocks of channels: one channel more than a full block may cost as much as a further block.
        """
        if site.kind == "block":
            return tuple(sorted({0, *(max(1, batch_size * quarter // 4) for quarter in (1, 2, 3, 4))}))
        step = granularity_of(gate.genes)
        groups = site.channels // step
        fewest = _fewest_groups(groups, step)
        counts = {fewest, *(max(fewest, groups * quarter // 4) for quarter in (1, 2, 3, 4))}
        if step == 1:
            counts |= {count + 1 for count in counts if count % _BLOCK == 0 and count < groups}
        return tuple(step * count for count in sorted(counts))

    def expected(self, site: Site, gate: Gate, batch_size: int) -> float:
        """The target share of the images or channels."""
        return float(gate.genes["target"]) * (batch_size if site.kind == "block" else site.channels)

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """The block's share is its mean opening; producer and consumer shrink with the open channels."""
        full = 1 if site.kind == "block" else site.channels
        share = 1.0 if decision is None else decision / full
        return {conv.name: share for conv in site.convs}

    def extra_macs(self, site: Site, gate: Gate) -> int:
        """MACs of the predictor."""
        inputs = site.channels if site.kind == "block" else site.convs[0].in_channels
        outputs = 1 if site.kind == "block" else site.channels
        hidden = max(inputs // int(gate.genes["reduction"]), 8)
        return hidden * (inputs + outputs)
