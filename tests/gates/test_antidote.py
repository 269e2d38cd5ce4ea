from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import forms_of, images, known_network
from PIL import Image
from suite import FamilySuite
from torch import Tensor, nn

from autogate.gates import antidote, get_family
from autogate.gates.antidote import AttentionMask, GatheredConv
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.sites import find_sites
from autogate.surgery import attach_gates, canonical, training_form

SITE = "map:layer1.0.conv1"


class TestAntidote(FamilySuite):
    family = "antidote"
    sites = {"resnet20": 9, "resnet50": 32, "vgg16_bn": 12, "mobilenet_v2": 19, "densenet40": 38}
    refused = [
        (SITE, {"channel_ratio": 1.0}, "channel_ratio must be in [0, 0.97], not 1"),
        (SITE, {"column_ratio": -0.5}, "column_ratio must be in [0, 0.97], not -0.5"),
        (SITE, {"column_ratio": "half"}, "column_ratio must be a number"),
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
        shown = AttentionMask(channels=4, columns=10, dropout=1.0).eval()(value, value)
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
        AttentionMask(channels=3, columns=None, dropout=1.0).train()(value, value).sum().backward()
        kept = value.grad.amax((2, 3))
        assert kept.sum(dim=1).tolist() == [3.0, 3.0]
        assert set(value.grad.unique().tolist()) == {0.0, 1.0}

    @pytest.mark.parametrize("dropout", [1.0, 0.5])
    def test_targeted_dropout_hits_only_the_targets(self, dropout: float) -> None:
        torch.manual_seed(0)
        value = torch.arange(1.0, 9.0).view(1, 8, 1, 1).expand(400, 8, 2, 2)
        shown = AttentionMask(channels=4, columns=None, dropout=dropout).train()(value, value)
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
        ],
    )
    @pytest.mark.parametrize(("channels", "columns"), [(5, None), (None, 20), (3, 40), (1, 1)])
    def test_gathered_convolution(
        self,
        kernel: int | tuple[int, int],
        stride: int,
        padding: int | tuple[int, int],
        dilation: int,
        channels: int | None,
        columns: int | None,
        bias: bool,
    ) -> None:
        torch.manual_seed(0)
        conv = nn.Conv2d(8, 6, kernel, stride, padding, dilation, bias=bias).double()
        gathered, mask = GatheredConv(conv, channels, columns), AttentionMask(channels, columns, 1.0).eval()
        for batch in (1, 3):
            value = torch.rand(batch, 8, 9, 11, dtype=torch.float64)
            torch.testing.assert_close(gathered(value), conv(mask(value, value)))

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

    @pytest.mark.slow
    def test_attention_beats_random_beats_reverse(
        self, shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Acceptance test of the family reference, section 1: masks on every conv2 input, no training."""
        weights = shared("weights/resnet20-cifar10jpeg.safetensors")
        x, labels = cifar_images(shared("data/cifar10-jpeg-test.tar.gz"), 500)
        network = find_sites(load_model("resnet20", weights=str(weights)).module, (3, 32, 32))
        places = [name for name, site in network.sites.items() if site.kind == "map"]
        assert len(places) == 9
        gates = attach_gates(
            network, canonical(Policy(dict.fromkeys(places, Gate("antidote", {"channel_ratio": 0.2}))), network.sites)
        )
        form = training_form(network, gates).eval()

        def accuracy(module: nn.Module) -> float:
            with torch.no_grad():
                found = torch.cat([module(part).argmax(1) for part in x.split(100)])
            return 100 * float((found == labels).float().mean())

        own = antidote.channel_attention
        dense, attention = accuracy(network.model), accuracy(form)
        monkeypatch.setattr(antidote, "channel_attention", lambda value: -own(value))
        reverse = accuracy(form)
        torch.manual_seed(0)
        monkeypatch.setattr(antidote, "channel_attention", lambda value: torch.rand_like(own(value)))
        random = accuracy(form)
        # Measured on 1000 images: 88.2 dense, 85.1 attention, 43.3 random, 15.4 reverse.
        assert dense >= 86
        assert attention >= 82
        assert attention - random >= 3
        assert random - reverse >= 10


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
    assert gathered[0].channels == 8
    assert gathered[0].columns is None
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
