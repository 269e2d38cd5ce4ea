"""``mod``: CNN Mixture-of-Depths; a block runs on the k channels of its input that a selector scores highest.

Source: CNN Mixture-of-Depths (arXiv 2409.17016), sections 3.1 and 3.2, equations 1 and 2: squeeze, two
bias-free layers with reduction r, sigmoid; top-k by score; a block shrunk to k = C / c channels; the score
multiplies the block's result; the result is added to the first k channels. Choices of this implementation,
which the paper leaves open: the ReLU inside the selector, the order of the selected channels (by score), and
that the network's own activation after the sum stays where it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from autogate.gates.family import CompactEditor, DenseParts, Family, Gene, TrainingGate
from autogate.policy import Gate
from autogate.records import ConvSpec, Site, SiteKind

_REDUCTION = 16


class Selector(nn.Module):
    """Scores every channel of an input: squeeze, two bias-free layers, sigmoid."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)
        # Channel means of a network with ReLU are not negative, so that a hidden unit with negative weights would
        # be dead for every input; there may be only one.
        nn.init.uniform_(self.squeeze.weight, 0.0, 2.0 / channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores, ``[N, C, H, W] -> [N, C]``, each in (0, 1)."""
        return torch.sigmoid(self.expand(F.relu(self.squeeze(x.mean(dim=(2, 3))))))


class ShrunkBlock(nn.Module):
    """Selects k channels, runs the shrunk block on them, scales the result by their scores."""

    def __init__(self, selector: Selector, body: nn.Module, k: int) -> None:
        super().__init__()
        self.selector = selector
        self.body = body
        self.k = k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled result for the first k channels, ``[N, C, H, W] -> [N, k, H, W]``."""
        scores, index = self.selector(x).topk(self.k, dim=1)
        n, (h, w) = x.shape[0], x.shape[2:]
        if n == 1:
            selected = x.index_select(1, index[0])
        else:
            selected = x.gather(1, index[:, :, None, None].expand(n, self.k, h, w))
        result: torch.Tensor = self.body(selected) * scores[:, :, None, None]
        return result


class ModGate(TrainingGate):
    """Training form: the shrunk block's result, padded with zeros to all channels."""

    replaces_branch = True

    def __init__(self, block: ShrunkBlock, residual: bool) -> None:
        super().__init__()
        self.block = block
        self.residual = residual

    def forward(self, value: torch.Tensor | None, context: torch.Tensor) -> torch.Tensor:
        """Return the addend of a residual unit, or the result of a plain one, ``[N, C, H, W]``."""
        rest = context.shape[1] - self.block.k
        addend = F.pad(self.block(context), (0, 0, 0, 0, 0, rest))
        return addend if self.residual else context + addend


class CompactMod(nn.Module):
    """Compact form: adds the shrunk block's result to the first k channels and touches no other."""

    def __init__(self, block: ShrunkBlock, finish: nn.Module | None) -> None:
        super().__init__()
        self.block = block
        self.finish = finish

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map the block's input to its result, ``[N, C, H, W] -> [N, C, H, W]``."""
        first = x[:, : self.block.k] + self.block(x)
        if self.finish is not None:
            first = self.finish(first)
        return torch.cat([first, x[:, self.block.k :]], dim=1)


class Mod(Family):
    """Run a block on its k highest-scoring input channels only."""

    name = "mod"
    kinds = frozenset[SiteKind]({"block"})
    has_weights = True
    hides_inside = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``c``: k = C // c channels are processed; ``reduction``: of the selector's hidden layer."""
        return (Gene("c", 16, low=1, high=4096), Gene("reduction", _REDUCTION, low=1, high=1024))

    def fits(self, site: Site) -> str | None:
        """The block must be a chain of layers, to be rebuilt with fewer channels."""
        if (reason := super().fits(site)) is not None:
            return reason
        return None if site.plain_chain else "the block is no chain of convolutions, normalisations and activations"

    def suits(self, site: Site, gate: Gate) -> str | None:
        """At least one channel must be left to process."""
        c = int(gate.genes.get("c", 16))
        return f"c={c} leaves no channel of {site.channels}; choose a smaller c" if c > site.channels else None

    def attach(self, site: Site, gate: Gate, dense: DenseParts, dropout: float) -> ModGate:
        """Return a block with fresh weights whose result starts small, so that a trained network survives."""
        k = site.channels // int(gate.genes["c"])
        body = shrink(dense.branch, site.channels, k)
        norms = [layer for layer in body if isinstance(layer, nn.BatchNorm2d)]
        if site.residual and norms:
            nn.init.constant_(norms[-1].weight, 0.1)
        block = ShrunkBlock(Selector(site.channels, int(gate.genes["reduction"])), body, k)
        return ModGate(block, site.residual)

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Put the shrunk block in the block's place."""
        assert isinstance(trained, ModGate)  # noqa: S101 - attach() made it
        editor.replace_block(site.name, lambda branch, finish: CompactMod(trained.block, finish))

    def mac_factors(self, site: Site, gate: Gate, decision: float | None) -> Mapping[str, float]:
        """Nothing of the dense block is left; :meth:`extra_macs` has the shrunk one."""
        return {conv.name: 0.0 for conv in site.convs}

    def extra_macs(self, site: Site, gate: Gate) -> int:
        """MACs of the selector and the shrunk block."""
        k = site.channels // int(gate.genes["c"])
        hidden = max(1, site.channels // int(gate.genes["reduction"]))

        def shrunk(conv: ConvSpec) -> int:
            pixels = conv.macs * conv.groups // (conv.in_channels * conv.out_channels * conv.kernel[0] * conv.kernel[1])
            inputs, outputs, groups = _shrunk_widths(conv.in_channels, conv.out_channels, conv.groups, site.channels, k)
            return pixels * inputs // groups * outputs * conv.kernel[0] * conv.kernel[1]

        return 2 * site.channels * hidden + sum(shrunk(conv) for conv in site.convs)


def _shrunk_widths(inputs: int, outputs: int, groups: int, channels: int, k: int) -> tuple[int, int, int]:
    """Scale a convolution's widths from a block of ``channels`` to one of ``k`` channels."""
    inputs, outputs = (max(1, width * k // channels) for width in (inputs, outputs))
    return inputs, outputs, (inputs if groups > 1 and inputs == outputs else 1)


def shrink(layers: tuple[nn.Module, ...], channels: int, k: int) -> nn.Sequential:
    """Return the same chain of layers with fresh weights and every width scaled by ``k / channels``."""
    shrunk: list[nn.Module] = []
    width = k
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            inputs, width, groups = _shrunk_widths(layer.in_channels, layer.out_channels, layer.groups, channels, k)
            bias = layer.bias is not None
            conv = nn.Conv2d(
                inputs, width, _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding),
                _pair(layer.dilation), groups, bias,
            )  # fmt: skip
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            shrunk.append(conv)
        elif isinstance(layer, nn.BatchNorm2d):
            shrunk.append(nn.BatchNorm2d(width, eps=layer.eps, momentum=layer.momentum))
        else:
            shrunk.append(copy.deepcopy(layer))
    return nn.Sequential(*shrunk)


def _pair(value: object) -> tuple[int, int]:
    assert isinstance(value, tuple)  # noqa: S101 - nn.Conv2d stores pairs
    return int(value[0]), int(value[1])
