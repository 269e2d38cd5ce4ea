"""``mod``: CNN Mixture-of-Depths; a block runs on the k channels of its input that a selector scores highest.

Source: CNN Mixture-of-Depths (arXiv 2409.17016), sections 3.1 and 3.2, equations 1 and 2: squeeze, two layers with
reduction r, sigmoid; top-k by score; a block shrunk to k = C / c channels; the score multiplies the block's result;
the result is added to the first k channels. Its ablations are genes: the last k or the original channels instead, and
random channels without a selector. What the paper leaves open is a reconstruction: that the selector's layers have no
biases, which its counts of parameters tell; the ReLU between them; the order of the selected channels (by score); that
the network's own activation after the sum stays where it was; and that the shrunk block's weights belong to ranks, not
to channels, so that only activations are gathered. In the paper c is 64 for ResNets and 16 for MobileNetV2; the 64 of
VGG is a reconstruction from its counts. A choice of this implementation is c = 16 unless told otherwise, which suits
networks narrower than the paper's ResNets.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from autogate.gates.family import CompactEditor, DenseParts, Family, Knobs, Overwriting, TrainingGate
from autogate.gates.float32 import in_float32
from autogate.gates.gene import Gene
from autogate.gates.registry import register_family
from autogate.policy import Gate, GeneValue
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
    """Selects k channels, runs the shrunk block on them, scales the result by their scores.

    Attributes:
        fixed: Without a selector, the channels that always run, int64 ``[k]``.
    """

    fixed: torch.Tensor | None

    def __init__(self, selector: Selector | None, body: nn.Module, channels: int, k: int) -> None:
        super().__init__()
        self.selector = selector
        self.body = body
        self.k = k
        self.register_buffer("fixed", torch.randperm(channels)[:k] if selector is None else None)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scaled result and the selected channels, ``[N, C, H, W] -> [N, k, H, W], [N, k]``."""
        if self.selector is None:
            assert self.fixed is not None  # noqa: S101 - one of the two is there
            result: torch.Tensor = self.body(x.index_select(1, self.fixed))
            return result, self.fixed.expand(len(x), -1)
        scores, index = in_float32(self.selector, x).topk(self.k, dim=1)
        selected = x.index_select(1, index[0]) if len(x) == 1 else x.gather(1, _at(index, x))
        return self.body(selected) * scores[:, :, None, None], index


def _at(index: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Spread channel numbers ``[N, k]`` over the positions of ``x``, ``[N, k, H, W]``."""
    return index[:, :, None, None].expand(-1, -1, *x.shape[2:])


class ModGate(TrainingGate):
    """Training form: the shrunk block's result, padded with zeros to all channels."""

    replaces_branch = True
    runs_layers = True

    def __init__(self, block: ShrunkBlock, residual: bool, fusion: str) -> None:
        super().__init__()
        self.block = block
        self.residual = residual
        self.fusion = fusion
        self.largest: torch.Tensor | None = None

    def describe(self) -> str:
        """How large the result of the block was."""
        size = "" if self.largest is None else f", results up to {float(self.largest):.3g}"
        return f"{self.block.k} channels{size}"

    def forward(self, value: torch.Tensor | None, context: torch.Tensor) -> torch.Tensor:
        """Return the addend of a residual unit, or the result of a plain one, ``[N, C, H, W]``."""
        result, index = self.block(context)
        result = result.to(context.dtype)
        self.largest = result.detach().abs().amax()
        rest = context.shape[1] - self.block.k
        if self.fusion == "original":
            addend = torch.zeros_like(context).scatter(1, _at(index, context), result)
        else:
            before, after = (0, rest) if self.fusion == "first" else (rest, 0)
            addend = F.pad(result, (0, 0, 0, 0, before, after))
        return addend if self.residual else context + addend


class CompactMod(Overwriting):
    """Compact form: adds the shrunk block's result to k channels and touches no other."""

    def __init__(self, block: ShrunkBlock, finish: nn.Module | None, fusion: str) -> None:
        super().__init__()
        self.block = block
        self.block.body = folded(block.body)
        self.finish = finish
        self.fusion = fusion

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map the block's input to its result, ``[N, C, H, W] -> [N, C, H, W]``."""
        result, index = self.block(x)
        # A copy is cheaper than a concatenation, which may also change the memory layout.
        x = x if self.overwrites else x.clone()
        if self.fusion == "original":
            where = _at(index, x)
            return x.scatter_(1, where, self._finished(x.gather(1, where) + result))
        start = 0 if self.fusion == "first" else x.shape[1] - self.block.k
        part = x.narrow(1, start, self.block.k)
        part.copy_(self._finished(part + result))
        return x

    def _finished(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.finish is None else self.finish(x)


@register_family
class Mod(Family):
    """Run a block on its k highest-scoring input channels only."""

    name = "mod"
    kinds = frozenset[SiteKind]({"block"})
    has_weights = True
    hides_inside = True
    reads_whole_input = True

    def genes(self, kind: SiteKind) -> tuple[Gene, ...]:
        """``c``: k = C // c channels are processed; ``reduction``: of the selector's hidden layer.

        ``fusion``: the channels to which the result is added; ``selector``: how channels are selected.
        """
        return (
            Gene("c", 16, low=1, high=4096),
            Gene("reduction", _REDUCTION, low=1, high=1024),
            Gene("fusion", "first", choices=("first", "last", "original")),
            Gene("selector", "score", choices=("score", "random")),
        )

    def test_genes(self, kind: SiteKind) -> tuple[Mapping[str, GeneValue], ...]:
        """Two widths, each way to add the result, and random channels."""
        return (
            {"c": 8},
            {"c": 16},
            {"c": 8, "fusion": "last"},
            {"c": 8, "fusion": "original"},
            {"c": 8, "selector": "random"},
        )

    def fill(self, site: Site, gate: Gate) -> Gate:
        """Without a selector its width does not matter."""
        filled = super().fill(site, gate)
        return (
            filled
            if filled.genes["selector"] == "score"
            else Gate(self.name, {**filled.genes, "reduction": _REDUCTION})
        )

    def unsupported_reason(self, site: Site) -> str | None:
        """The block must be a chain of layers, to be rebuilt with fewer channels."""
        if (reason := super().unsupported_reason(site)) is not None:
            return reason
        return None if site.plain_chain else "the block is no chain of convolutions, normalisations and activations"

    def invalid_reason(self, site: Site, gate: Gate) -> str | None:
        """At least one channel must be left to process."""
        c = int(gate.genes["c"])
        return f"c={c} leaves no channel of {site.channels}; choose a smaller c" if c > site.channels else None

    def build_training_gate(self, site: Site, gate: Gate, dense: DenseParts, knobs: Knobs) -> ModGate:
        """Return a block with fresh weights whose result starts small, so that a trained network survives."""
        k = site.channels // int(gate.genes["c"])
        body = shrink(dense.branch, site.channels, k)
        norms = [layer for layer in body if isinstance(layer, nn.BatchNorm2d)]
        if site.residual and norms:
            nn.init.constant_(norms[-1].weight, 0.1)
        by_score = gate.genes["selector"] == "score"
        selector = Selector(site.channels, int(gate.genes["reduction"])) if by_score else None
        block = ShrunkBlock(selector, body, site.channels, k)
        return ModGate(block, site.residual, str(gate.genes["fusion"]))

    def compact(self, site: Site, gate: Gate, trained: TrainingGate, editor: CompactEditor) -> None:
        """Put the shrunk block in the block's place."""
        assert isinstance(trained, ModGate)  # noqa: S101 - attach() made it
        editor.replace_block(site.name, lambda branch, finish: CompactMod(trained.block, finish, trained.fusion))

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

        selector = 2 * site.channels * hidden if gate.genes["selector"] == "score" else 0
        return selector + sum(shrunk(conv) for conv in site.convs)


def _shrunk_widths(inputs: int, outputs: int, groups: int, channels: int, k: int) -> tuple[int, int, int]:
    """Scale a convolution's widths from a block of ``channels`` to one of ``k`` channels."""
    inputs, outputs = (max(1, width * k // channels) for width in (inputs, outputs))
    return inputs, outputs, (inputs if groups > 1 and inputs == outputs else 1)


def shrink(layers: tuple[nn.Module, ...], channels: int, k: int) -> nn.Sequential:
    """Return the same chain of layers with fresh weights and every width scaled by ``k / channels``."""
    shrunk: list[nn.Module] = []
    width = k
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        if isinstance(layer, nn.Conv2d):
            inputs, width, groups = _shrunk_widths(layer.in_channels, layer.out_channels, layer.groups, channels, k)
            # A normalisation takes a constant away again.
            bias = layer.bias is not None and not isinstance(following, nn.BatchNorm2d)
            conv = nn.Conv2d(
                inputs,
                width,
                _pair(layer.kernel_size),
                _pair(layer.stride),
                _pair(layer.padding),
                _pair(layer.dilation),
                groups,
                bias,
            )
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            shrunk.append(conv)
        elif isinstance(layer, nn.BatchNorm2d):
            shrunk.append(nn.BatchNorm2d(width, eps=layer.eps, momentum=layer.momentum))
        else:
            shrunk.append(copy.deepcopy(layer))
    return nn.Sequential(*shrunk)


def folded(layers: nn.Module) -> nn.Sequential:
    """Return a chain of layers in evaluation mode with every normalisation folded into the convolution before it."""
    chain: list[nn.Module] = []
    for layer in layers.children():
        conv = chain[-1] if chain else None
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and isinstance(conv, nn.Conv2d):
            chain[-1] = fuse_conv_bn_eval(conv, layer)
        else:
            chain.append(layer)
    return nn.Sequential(*chain).eval()


def _pair(value: object) -> tuple[int, int]:
    assert isinstance(value, tuple)  # noqa: S101 - nn.Conv2d stores pairs
    return int(value[0]), int(value[1])
