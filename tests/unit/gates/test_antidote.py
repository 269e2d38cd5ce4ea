from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from autogate.gates import antidote, get_family
from autogate.gates.antidote import AttentionMask, Selection, ascending_ratio, targeted_ramp
from autogate.gates.gathered_channels import ChannelGatheredConv
from autogate.gates.gathered_columns import COLUMN_EXECUTORS, ColumnGatheredConv
from autogate.gates.gathered_conv import GatheredConv
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.sites import find_sites
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.family_suite import FamilySuite
from tests.support.networks import forms_of, images, known_network

SITE = "map:layer1.0.conv1"
# For maps of 8 channels, 9 rows and 12 columns.
SELECTIONS_AND_EXECUTORS = [
    *(
        (Selection(0.4, 0.0, granularity=granularity), executor)
        for executor in ("grouped", "unfolded", "transposed")
        for granularity in (1, 2)
    ),
    *(
        (selection, executor)
        for selection in (
            Selection(0.0, 0.8),
            Selection(0.6, 0.5),
            Selection(0.6, 0.5, strip=4),
            Selection(0.6, 0.5, strip=3, channels_first=True),
            Selection(0.6, 0.5, granularity=2, channels_first=True),
            Selection(0.9, 0.97),
        )
        for executor in COLUMN_EXECUTORS
    ),
]


class TestAntidote(FamilySuite):
    family = "antidote"
    sites = {"resnet20": 9, "resnet50": 32, "vgg16_bn": 12, "mobilenet_v2": 17, "densenet40": 38}
    refused = [
        (SITE, {"channel_ratio": 1.0}, "channel_ratio must be in [0, 0.97], not 1"),
        (SITE, {"column_ratio": -0.5}, "column_ratio must be in [0, 0.97], not -0.5"),
        (SITE, {"column_ratio": "half"}, "column_ratio must be a number"),
        (SITE, {"column_ratio": 0.5, "strip": 5}, "strip=5 does not divide the map's width of 32"),
        (SITE, {"column_ratio": 0.5, "channel_ratio": 0.5, "order": "last"}, "order must be one of"),
        (SITE, {"channel_ratio": 0.5, "granularity": 5}, "granularity=5 does not divide the map's 16 channels"),
        (SITE, {"channel_ratio": 0.5, "granularity": 0}, "granularity must be in [1, 1024], not 0"),
    ]
    unfit = ("resnet20", "block:layer1.1", "antidote stands at map sites only")

    @pytest.mark.parametrize(
        ("site", "ratio", "channels"),
        # Widths are 16, 32 and 64.
        [
            ("map:layer1.0.conv1", 0.3, 12),
            ("map:layer2.0.conv1", 0.3, 23),
            ("map:layer3.0.conv1", 0.3, 45),
            ("map:layer1.0.conv1", 0.2, 13),
            ("map:layer3.0.conv1", 0.97, 2),
        ],
    )
    def test_kept_channels(self, site: str, ratio: float, channels: int) -> None:
        network = known_network("resnet20")
        gate = attach_gates(
            network, canonical(Policy({site: Gate("antidote", {"channel_ratio": ratio})}), network.sites)
        )
        value = torch.rand(3, *network.sites[site].shape)
        kept = gate[site].eval()(value, value).abs().sum(dim=(2, 3)) > 0
        assert kept.sum(dim=1).tolist() == [channels] * 3

    @pytest.mark.parametrize(
        ("site", "ratio", "columns"),
        # Maps are 32x32, 16x16 and 8x8.
        [
            ("map:layer3.1.conv1", 0.6, 26),
            ("map:layer2.1.conv1", 0.6, 103),
            ("map:layer1.1.conv1", 0.5, 512),
        ],
    )
    def test_kept_columns(self, site: str, ratio: float, columns: int) -> None:
        network = known_network("resnet20")
        gate = attach_gates(
            network, canonical(Policy({site: Gate("antidote", {"column_ratio": ratio})}), network.sites)
        )
        value = torch.rand(3, *network.sites[site].shape)
        kept = gate[site].eval()(value, value).abs().sum(dim=1) > 0
        assert kept.flatten(1).sum(dim=1).tolist() == [columns] * 3

    def test_what_is_kept_has_the_highest_mean_and_keeps_its_value(self) -> None:
        value = torch.rand(4, 6, 5, 5)
        shown = AttentionMask(Selection(1 / 3, 0.6)).eval()(value, value)
        for i in range(4):
            channels = value[i].mean((1, 2)).topk(4).indices
            columns = value[i].mean(0).flatten().topk(10).indices
            mask = torch.zeros_like(value[i])
            mask[channels] = 1
            flat = torch.zeros(25)
            flat[columns] = 1
            # Both masks come from the unmasked map.
            assert torch.equal(shown[i], value[i] * mask * flat.view(5, 5))

    def test_gradient_reaches_only_what_is_kept(self) -> None:
        value = torch.rand(2, 8, 4, 4, requires_grad=True)
        AttentionMask(Selection(0.625, 0.0)).train()(value, value).sum().backward()
        kept = value.grad.amax((2, 3))
        assert kept.sum(dim=1).tolist() == [3.0, 3.0]
        assert set(value.grad.unique().tolist()) == {0.0, 1.0}

    @pytest.mark.parametrize("dropout", [1.0, 0.5])
    def test_targeted_dropout_hits_only_the_targets(self, dropout: float) -> None:
        torch.manual_seed(0)
        value = torch.arange(1.0, 9.0).view(1, 8, 1, 1).expand(400, 8, 2, 2)
        shown = AttentionMask(Selection(0.5, 0.0), dropout).train()(value, value)
        opened = (shown > 0).float().mean((0, 2, 3))
        assert (opened[4:] == 1).all()
        assert (opened[:4] < 0.65).all()
        assert (opened[:4] > 0.35).all() == (dropout < 1)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize(
        ("kernel", "stride", "padding", "dilation"),
        [
            (3, 1, 1, 1),
            (3, 2, 1, 1),
            (1, 1, 0, 1),
            (1, 2, 0, 1),
            (5, 2, 2, 1),
            (3, 1, 2, 2),
            ((1, 3), 1, (0, 1), 1),
            (3, 3, 0, 1),
            (1, 1, 1, 1),
            ((1, 3), 1, (2, 1), 1),
            (3, 1, 0, 2),
        ],
    )
    @pytest.mark.parametrize(("selection", "executor"), SELECTIONS_AND_EXECUTORS)
    def test_gathered_convolution(
        self,
        kernel: int | tuple[int, int],
        stride: int,
        padding: int | tuple[int, int],
        dilation: int,
        selection: Selection,
        executor: str,
        bias: bool,
    ) -> None:
        if executor == "transposed" and stride != 1:
            return  # nobody is offered it
        torch.manual_seed(0)
        conv = nn.Conv2d(8, 6, kernel, stride, padding, dilation, bias=bias).double()
        kind = ColumnGatheredConv if executor in COLUMN_EXECUTORS else ChannelGatheredConv
        gathered = kind(conv, selection, executor, selection.granularity)
        mask = AttentionMask(selection).eval()
        for batch in (1, 3):
            value = torch.rand(batch, 8, 9, 12, dtype=torch.float64)
            torch.testing.assert_close(gathered(value), conv(mask(value, value)))

    def test_strips_stay_or_go_together(self) -> None:
        value = torch.rand(5, 3, 4, 8)
        shown = AttentionMask(Selection(0.0, 0.5, strip=4)).eval()(value, value)
        kept = (shown.abs().sum(dim=1) > 0).view(5, 4, 2, 4)
        assert (kept.all(dim=3) == kept.any(dim=3)).all()
        means = value.mean(dim=1).view(5, 8, 4).mean(dim=2)
        assert torch.equal(kept.any(dim=3).flatten(1), torch.zeros(5, 8).scatter_(1, means.topk(4).indices, 1) > 0)

    def test_groups_of_channels_stay_or_go_together_by_their_mean(self) -> None:
        value = torch.rand(5, 12, 4, 4)
        shown = AttentionMask(Selection(0.5, 0.0, granularity=3)).eval()(value, value)
        kept = (shown.abs().sum(dim=(2, 3)) > 0).view(5, 4, 3)
        assert (kept.all(dim=2) == kept.any(dim=2)).all()
        means = value.mean(dim=(2, 3)).view(5, 4, 3).mean(dim=2)
        assert torch.equal(kept.any(dim=2), torch.zeros(5, 4).scatter_(1, means.topk(2).indices, 1) > 0)

    def test_policies_from_before_there_were_groups_keep_their_digests(self) -> None:
        sites = known_network("resnet20").sites
        for genes in ({"channel_ratio": 0.5}, {"channel_ratio": 0.5, "granularity": 1}):
            [(_, gate)] = canonical(Policy({SITE: Gate("antidote", genes)}), sites)
            assert set(gate.genes) == {"channel_ratio", "column_ratio", "strip", "order"}
        [(_, gate)] = canonical(Policy({SITE: Gate("antidote", {"column_ratio": 0.5, "granularity": 4})}), sites)
        assert "granularity" not in gate.genes

    def test_order_of_the_two_masks(self) -> None:
        # The left column lives in the second channel, which is the weaker one.
        value = torch.tensor([[[[0.0, 2.0]], [[3.0, -2.0]]]])
        both, first = (
            AttentionMask(Selection(0.5, 0.5, channels_first=first)).eval()(value, value) for first in (False, True)
        )
        assert both.tolist() == [[[[0.0, 0.0]], [[0.0, 0.0]]]]
        assert first.tolist() == [[[[0.0, 2.0]], [[0.0, 0.0]]]]

    def test_ratios_ascend_in_steps(self) -> None:
        """Section 1 of the family reference: ``min(R, r0 + delta * floor(e / T))``."""
        found = [round(ascending_ratio(0.3, epoch, epochs_per_step=2), 2) for epoch in range(0, 12)]
        assert found == [0.1, 0.1, 0.15, 0.15, 0.2, 0.2, 0.25, 0.25, 0.3, 0.3, 0.3, 0.3]
        gate = AttentionMask(Selection(0.5, 0.0), ascent=0.5).train()
        value = torch.rand(2, 100, 2, 2)
        kept = []
        for fraction in (0.0, 0.0624, 0.0626, 0.25, 0.4374, 0.4376, 0.5, 1.0):
            gate.set_progress(fraction)
            kept.append(int((gate(value, value) > 0).any(dim=(2, 3)).sum(dim=1).unique()))
        assert kept == [90, 90, 85, 70, 60, 55, 50, 50]
        gate.set_progress(0.0)
        assert int((gate.eval()(value, value) > 0).any(dim=(2, 3)).sum()) == 2 * 50

    def test_ramps_of_targeted_dropout(self) -> None:
        """Section 9 of the family reference, for steps 10,000, 20,000 and 40,000 of 40,000."""
        expected = {0: (0.0, 0.0), 10_000: (0.475, 0.25), 20_000: (0.95, 0.5), 40_000: (1.0, 1.0), 50_000: (1.0, 1.0)}
        for step, shares in expected.items():
            assert targeted_ramp(step / 40_000) == pytest.approx(shares)
        torch.manual_seed(0)
        gate = AttentionMask(Selection(0.4, 0.0), dropout=0.8, ramp=0.5).train()
        value = torch.rand(500, 100, 1, 1)
        for fraction, share in ((0.125, 0.19 * 0.2), (0.25, 0.38 * 0.4), (0.5, 0.4 * 0.8), (1.0, 0.4 * 0.8)):
            gate.set_progress(fraction)
            assert float((gate(value, value) == 0).float().mean()) == pytest.approx(share, abs=0.01)

    def test_genes_without_effect_do_not_make_another_policy(self) -> None:
        sites = known_network("resnet20").sites
        same = [
            {"channel_ratio": 0.5, "column_ratio": 0.0005, "strip": 4, "order": "channels_first"},
            {"channel_ratio": 0.5},
        ]
        assert len({canonical(Policy({SITE: Gate("antidote", genes)}), sites).digest for genes in same}) == 1

    def test_paper_costs(self) -> None:
        """Section 9 of the family reference: 77,805,216 of ResNet-56's 125,485,056 MACs, inner maps only."""
        network = find_sites(load_model("resnet56").module, (3, 32, 32))
        family = get_family("antidote")
        left = sum(
            round(conv.macs * family.mac_factors(site, gate, None).get(conv.name, 1.0))
            for site in network.sites.values()
            if site.kind == "map"
            for gate in [
                family.complete(
                    site,
                    Gate("antidote", {"channel_ratio": 0.6 if site.channels == 64 else 0.3, "column_ratio": 0.6}),
                )
            ]
            for conv in site.convs
        )
        stem = 3 * 16 * 9 * 32 * 32
        assert left + stem == 77_805_216

    @pytest.mark.e2e
    def test_attention_beats_random_beats_reverse(
        self, shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Acceptance test of the family reference, section 1: masks on every conv2 input, no training."""
        weights = shared("weights/resnet56-cifar10jpeg.safetensors")
        x, labels = cifar_images(shared("data/cifar10-jpeg-test.tar.gz"), 500)
        network = find_sites(load_model("resnet56", weights=str(weights)).module, (3, 32, 32))
        places = [name for name, site in network.sites.items() if site.kind == "map"]
        assert len(places) == 27

        def accuracy(module: nn.Module) -> float:
            with torch.no_grad():
                found = torch.cat([module(part).argmax(1) for part in x.split(100)])
            return 100 * float((found == labels).float().mean())

        assert accuracy(network.model) >= 88
        own = antidote.channel_attention
        judges = {"attention": own, "random": lambda v: torch.rand_like(own(v)), "reverse": lambda v: -own(v)}
        # Measured on 1000 images, by attention: 90.3, 89.0, 85.6 and 64.2.
        for ratio, least in ((0.1, 87), (0.2, 86), (0.3, 82), (0.5, 58)):
            gates = dict.fromkeys(places, Gate("antidote", {"channel_ratio": ratio}))
            form = training_form(network, attach_gates(network, canonical(Policy(gates), network.sites))).eval()
            torch.manual_seed(0)
            found = {}
            for name, evaluator in judges.items():
                monkeypatch.setattr(antidote, "channel_attention", evaluator)
                found[name] = accuracy(form)
            assert found["attention"] >= least
            assert found["attention"] - found["random"] >= 3
            if ratio <= 0.3:
                assert found["random"] - found["reverse"] >= 10


def cifar_images(archive: Path, count: int) -> tuple[Tensor, Tensor]:
    """Return real test images, normalised, and their labels: a fixed random choice."""
    with tarfile.open(archive) as tar:
        members = {m.name: m for m in tar.getmembers() if m.name.endswith(".jpg")}
        names = np.array(sorted(members))
        chosen = names[np.random.RandomState(0).permutation(len(names))[:count]]
        pixels = np.stack([np.asarray(Image.open(tar.extractfile(members[name]))) for name in chosen])
    classes = sorted({name.split("/")[-2] for name in names})
    labels = torch.tensor([classes.index(name.split("/")[-2]) for name in chosen])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean.view(3, 1, 1)) / std.view(3, 1, 1), labels


def test_compact_form_gathers() -> None:
    network = known_network("resnet20")
    _, compact = forms_of(network, canonical(Policy({SITE: Gate("antidote", {"channel_ratio": 0.5})}), network.sites))
    gathered = [module for module in compact.modules() if isinstance(module, GatheredConv)]
    assert len(gathered) == 1
    seen: list[tuple[int, ...]] = []
    original = torch.nn.functional.conv2d

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func is original:
                seen.append(tuple(args[1].shape))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        compact(images(network, 1))
    assert seen.count((16, 8, 3, 3)) == 1  # the consumer runs on 8 of its 16 input channels
