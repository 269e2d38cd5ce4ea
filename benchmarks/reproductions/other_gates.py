"""Layer gates of other papers, to be trained with the same recipe.

Evaluation has no noise, but for ConvNet-AIG, which evaluates with the noise it was trained with: without, nearly all
of its gates are open. It is evaluated in three ways: with noise, without, and without but with thresholds set on images
for validation, so that each gate opens as often as it was to be trained to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from autogate.data import Split
from autogate.gates.lcnet import LayerGate, ThresholdGate, TrainingGate
from autogate.policy import Policy
from autogate.records import Site
from autogate.sites import Network
from autogate.training import score

_GENES = {"tau": 0.5, "scale": "none"}
_AIG_OPEN_LOGIT = 1.9
_AIG_WEIGHT = 2.0


class AigPredictor(nn.Module):
    """ConvNet-AIG: squeeze, 16 hidden units with normalisation; one logit in place of two that only differ."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, 16)
        self.norm = nn.BatchNorm1d(16)
        self.score = nn.Linear(16, 1)
        nn.init.normal_(self.score.weight, std=0.001)
        nn.init.constant_(self.score.bias, _AIG_OPEN_LOGIT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logit, ``[N, C, H, W] -> [N, 1]``."""
        logit: torch.Tensor = self.score(F.relu(self.norm(self.hidden(x.mean(dim=(2, 3))))))
        return logit


class AigGate(LayerGate):
    """ConvNet-AIG: hard Gumbel at temperature 1, and a loss of its own on each gate's mean opening.

    Attributes:
        noisy: Whether evaluation has the noise of training.
    """

    noisy = False

    def __init__(self, channels: int, macs: Mapping[str, int], target: float, knobs: dict[str, float | str]) -> None:
        super().__init__(AigPredictor(channels), macs, {**_GENES, "target": target}, knobs, residual=True)  # type: ignore[arg-type]
        self.estimator = _gumbel

    def open_and_scale(self, context: torch.Tensor) -> torch.Tensor:
        """Return the gate, ``[N, 1]``."""
        if self.training or not self.noisy:
            return super().open_and_scale(context)
        gate = self.estimator(self.predictor(context), 1.0)
        self.decision = gate.sum(dim=1).long()
        return gate

    @staticmethod
    def joint_loss(gates: Sequence[ThresholdGate]) -> torch.Tensor | None:
        """Return ``2 * mean (target - opening)^2``."""
        terms = [(gate.target - gate.opening) ** 2 for gate in gates if gate.opening is not None]
        return _AIG_WEIGHT * torch.stack(terms).mean() if terms else None


def _gumbel(logit: torch.Tensor, progress: float) -> torch.Tensor:
    uniform = torch.rand_like(logit).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid(logit + torch.logit(uniform))
    return (soft >= 0.5).to(soft.dtype) + (soft - soft.detach())


class SkipNetPredictor(nn.Module):
    """SkipNet's feed-forward gate: pooling, two 3x3 convolutions, squeeze."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 10, 3, padding=1),
            nn.BatchNorm2d(10),
            nn.ReLU(),
            nn.Conv2d(10, 10, 3, stride=2, padding=1),
            nn.BatchNorm2d(10),
            nn.ReLU(),
        )
        self.score = nn.Linear(10, 1)
        nn.init.constant_(self.score.bias, _AIG_OPEN_LOGIT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logit, ``[N, C, H, W] -> [N, 1]``."""
        logit: torch.Tensor = self.score(self.convs(x).mean(dim=(2, 3)))
        return logit


def aig_evaluations(form: nn.Module, images: Split, device: torch.device) -> Iterator[str]:
    """Bring the gates of ConvNet-AIG in ``form`` into one way of evaluating after the other; say which, noise last."""
    gates = [module for module in form.modules() if isinstance(module, AigGate)]
    if not gates:
        return
    yield "without noise"
    seen: dict[AigGate, list[float]] = {gate: [] for gate in gates}

    def keep(gate: AigGate, logits: torch.Tensor) -> None:
        seen[gate].append(float(torch.quantile(torch.sigmoid(logits), 1.0 - gate.target)))

    hooks = [
        gate.predictor.register_forward_hook(lambda _, inputs, logits, gate=gate: keep(gate, logits)) for gate in gates
    ]
    for gate in gates:
        gate.as_trained = True
    score(form, images, device=device)
    for gate, hook in zip(gates, hooks, strict=True):
        hook.remove()
        gate.as_trained = False
        gate.tau = sum(seen[gate]) / len(seen[gate])
    yield "without noise, thresholds set"
    for gate in gates:
        gate.noisy = True
    yield "with noise"


def aig_gates(network: Network, policy: Policy) -> dict[str, TrainingGate]:
    """Return gates of ConvNet-AIG at the sites of ``policy``, with its targets."""
    return {
        site: AigGate(network.sites[site].channels, _macs(network.sites[site]), float(gate.genes["target"]), _KNOBS)
        for site, gate in policy
    }


def skipnet_gates(network: Network, policy: Policy) -> dict[str, TrainingGate]:
    """Return gates in the form of SkipNet's at the sites of ``policy``, with its targets and its budget loss."""
    gates: dict[str, TrainingGate] = {}
    for site, gate in policy:
        place = network.sites[site]
        genes = {**_GENES, "target": float(gate.genes["target"])}
        predictor = SkipNetPredictor(place.channels)
        gates[site] = LayerGate(predictor, _macs(place), genes, _KNOBS, residual=True)  # type: ignore[arg-type]
    return gates


def _macs(site: Site) -> dict[str, int]:
    return {conv.name: conv.macs for conv in site.convs}


_KNOBS: dict[str, float | str] = {"estimator": "ste", "budget_weight": 10.0, "warm_up": 0.1, "gate_lr": 20.0}
