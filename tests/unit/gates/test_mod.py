from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from autogate.gates import FAMILIES
from autogate.gates.mod import CompactMod
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.resources import paper_macs
from autogate.sites import Network, find_sites
from autogate.space import parse_space
from autogate.space.bound import bind
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.family_suite import FamilySuite
from tests.support.networks import forms_of, images, known_network

SITE = "block:layer1.1"


class TestMod(FamilySuite):
    family = "mod"
    sites = {"resnet20": 7, "resnet50": 12, "vgg16_bn": 9, "mobilenet_v2": 10, "densenet40": 0}
    refused = [
        (SITE, {"c": 0}, "c must be in [1, 4096], not 0"),
        (SITE, {"c": 17}, "c=17 leaves no channel of 16; choose a smaller c"),
        (SITE, {"c": "first"}, "c must be a number, not 'first'"),
        (SITE, {"c": 2.5}, "2.5"),
        (SITE, {"reduction": 0}, "reduction must be in [1, 1024], not 0"),
    ]
    unfit = ("resnet20", "map:layer1.0.conv1", "mod stands at block sites only")

    @pytest.mark.parametrize(
        ("site", "c", "k"),
        # Widths are 16, 32 and 64.
        [
            ("block:layer1.1", 16, 1),
            ("block:layer2.1", 16, 2),
            ("block:layer3.1", 16, 4),
            ("block:layer3.1", 64, 1),
            ("block:layer3.1", 24, 2),
            ("block:layer1.1", 1, 16),
        ],
    )
    def test_processed_channels(self, site: str, c: int, k: int) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy({site: Gate("mod", {"c": c})}), network.sites)
        block = attach_gates(network, policy)[site].block
        assert block.k == k
        convs = [layer for layer in block.body if isinstance(layer, nn.Conv2d)]
        assert [(conv.in_channels, conv.out_channels) for conv in convs] == [(k, k), (k, k)]

    @pytest.mark.e2e
    def test_bottleneck_widths(self) -> None:
        """A block of 1024 channels runs 16 - 4 - 16 instead of 1024 - 256 - 1024 at c = 64."""
        network = known_network("resnet50")
        policy = canonical(Policy({"block:layer3.1": Gate("mod", {"c": 64})}), network.sites)
        body = attach_gates(network, policy)["block:layer3.1"].block.body
        widths = [(layer.in_channels, layer.out_channels) for layer in body if isinstance(layer, nn.Conv2d)]
        assert widths == [(16, 4), (4, 4), (4, 16)]

    @pytest.mark.parametrize("batch", [1, 4])
    def test_channels_from_k_on_are_untouched(self, batch: int) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy({"block:layer3.1": Gate("mod", {"c": 16})}), network.sites)
        _, compact = forms_of(network, policy)
        module = next(part for part in compact.modules() if isinstance(part, CompactMod))
        assert module.overwrites  # nobody else reads its input
        seen: list[torch.Tensor] = []
        module.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
        module.register_forward_hook(lambda _, args, result: seen.append(result.clone()))
        with torch.no_grad():
            compact(images(network, batch))
        before, after = seen
        assert torch.equal(before[:, 4:], after[:, 4:])
        assert not torch.equal(before[:, :4], after[:, :4])

    def test_selection_by_score(self) -> None:
        network = known_network("resnet20")
        policy = canonical(Policy({"block:layer3.1": Gate("mod", {"c": 16})}), network.sites)
        torch.manual_seed(3)
        block = attach_gates(network, policy)["block:layer3.1"].block.eval()
        x = torch.rand(5, 64, 8, 8)
        scores = block.selector(x)
        assert scores.shape == (5, 64)
        assert ((scores > 0) & (scores < 1)).all()
        body = []
        block.body.register_forward_pre_hook(lambda _, args: body.append(args[0]))
        with torch.no_grad():
            result, _ = block(x)
        for i in range(5):
            top = scores[i].topk(4)
            # The block's input channels come in the order of their scores.
            assert torch.equal(body[0][i], x[i, top.indices])
            torch.testing.assert_close(result[i], block.body(body[0])[i] * top.values[:, None, None])

    def test_small_start(self) -> None:
        """A fresh block disturbs a trained network little."""
        network = known_network("resnet20")
        blocks = {name: Gate("mod", {"c": 16}) for name, site in network.sites.items() if site.kind == "block"}
        gates = attach_gates(network, canonical(Policy(blocks), network.sites))
        for gate in gates.values():
            norms = [part for part in gate.modules() if isinstance(part, nn.BatchNorm2d)]
            assert norms[-1].weight.abs().max() <= 0.1
            assert norms[0].weight.min() == 1


def resnet(block: type[nn.Module], layers: list[int]) -> nn.Module:
    """Return an ImageNet ResNet of any depth."""
    return torchvision.models.resnet.ResNet(block, layers)


def vgg(name: str, classes: int) -> nn.Module:
    """Return a VGG with the paper's head of three small linear layers, for images of 32x32."""
    module = torchvision.models.get_model(name, num_classes=classes)
    module.avgpool = nn.Identity()
    widths = (512, 512, 512, classes)
    module.classifier = nn.Sequential(*(nn.Linear(*pair) for pair in itertools.pairwise(widths)))
    return module


def with_mod(module: nn.Module, size: int, **genes: str | int) -> tuple[nn.Module, Network, Policy]:
    """Return the training form with ``mod`` as in the paper: at every second block of each stage, c = 64 or as told."""
    network = find_sites(module, (3, size, size))
    option = {"family": "mod", "genes": {"c": [64], **{k: [v] for k, v in genes.items()}}, "place": "alternate"}
    spec = parse_space({"schema": "autogate.space/1", "tie": "network", "sites": {"block": [option]}}, "test")
    (decision,) = [d for d in bind(spec, network.sites).decisions if d.kind == "block"]
    policy = canonical(Policy(decision.options[decision.choices[1]]), network.sites, strict=True)
    return training_form(network, attach_gates(network, policy)), network, policy


def paper(make: Callable[[], nn.Module], size: int, count: int, label: str, **genes: str | int) -> Any:
    quick = label == "R18 CIFAR-10"
    return pytest.param(make, size, count, genes, id=label, marks=() if quick else pytest.mark.e2e)


WIDE = [
    [1, 16, 1, 1],
    [6, 32, 2, 2],
    [6, 64, 3, 2],
    [6, 96, 4, 2],
    [6, 128, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]
BASIC, BOTTLENECK = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck
COUNTS = [
    *(
        paper(lambda n=name, c=classes: load_model(n, num_classes=c).module, 32, count, f"{label} CIFAR-{classes}")
        for name, label, counts in (
            ("resnet18_cifar", "R18", (4_948_352, 4_994_522)),
            ("resnet34_cifar", "R34", (12_418_864, 12_465_034)),
            ("resnet50_cifar", "R50", (16_069_759, 16_254_169)),
        )
        for classes, count in zip((10, 100), counts, strict=True)
    ),
    *(
        paper(lambda n=name, c=classes: vgg(n, c), 32, count, f"{label} CIFAR-{classes}")
        for name, label, counts in (
            ("vgg16_bn", "VGG16", (9_834_101, 9_880_271)),
            ("vgg19_bn", "VGG19", (9_909_165, 9_955_335)),
        )
        for classes, count in zip((10, 100), counts, strict=True)
    ),
    *(
        paper(lambda b=block, n=layers: resnet(b, n), 64, count, label)
        for label, block, layers, count in (
            ("R18", BASIC, [2, 2, 2, 2], 5_463_902),
            ("R26", BASIC, [2, 2, 3, 4], 11_399_166),
            ("R34", BASIC, [3, 4, 6, 3], 12_934_414),
            ("R42", BASIC, [3, 3, 6, 6], 17_720_830),
            ("R50", BOTTLENECK, [3, 4, 6, 3], 18_105_949),
            ("R75", BOTTLENECK, [3, 4, 14, 3], 23_100_253),
            ("R86", BOTTLENECK, [3, 4, 18, 3], 25_597_405),
            ("R101", BOTTLENECK, [3, 4, 23, 3], 29_211_741),
            ("R152", BOTTLENECK, [3, 8, 36, 3], 37_460_437),
        )
    ),
    paper(lambda: resnet(BOTTLENECK, [3, 4, 6, 3]), 64, 17_114_717, "R50 without selector", selector="random"),
    # The paper gives these two in millions only: 2.94 and 3.34.
    paper(torchvision.models.mobilenet_v2, 64, 2_944_164, "MobileNetV2", c=16),
    paper(lambda: torchvision.models.MobileNetV2(inverted_residual_setting=WIDE), 64, 3_344_296, "MobileNetV2-L", c=16),
]


@pytest.mark.parametrize(("make", "size", "count", "genes"), COUNTS)
def test_parameter_counts_of_the_paper(
    make: Callable[[], nn.Module], size: int, count: int, genes: dict[str, str | int]
) -> None:
    form, _, _ = with_mod(make(), size, **genes)
    assert sum(parameter.numel() for parameter in form.parameters()) == count


@pytest.mark.parametrize(
    ("name", "paper_mmacs"),
    [
        ("resnet18_cifar", 255),
        pytest.param("resnet34_cifar", 633, marks=pytest.mark.e2e),
        pytest.param("resnet50_cifar", 808, marks=pytest.mark.e2e),
    ],
)
def test_macs_of_the_paper(name: str, paper_mmacs: int) -> None:
    """The paper counts normalisations and activations too."""
    _, network, policy = with_mod(load_model(name).module, 32)
    assert paper_macs(network, policy) / 1e6 == pytest.approx(paper_mmacs, rel=0.015)


class Units(nn.Module):
    """Residual units whose branches hold layers with settings of their own."""

    def __init__(self, *extra: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.branch = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), *extra, nn.Conv2d(16, 16, 3, padding=1)
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head((x + self.branch(x)).mean((2, 3)))


@pytest.mark.parametrize(
    "extra",
    [
        nn.LeakyReLU(0.3),
        nn.Dropout(0.25),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.AvgPool2d(3, stride=1, padding=1),
    ],
    ids=lambda module: type(module).__name__,
)
def test_layers_keep_their_settings_or_the_block_is_no_place_for_mod(extra: nn.Module) -> None:
    network = find_sites(Units(extra), (3, 16, 16))
    reason = FAMILIES["mod"].unsupported_reason(network.sites["block:branch"])
    if reason is not None:
        assert "no chain of convolutions, normalisations and activations" in reason
        return
    policy = canonical(Policy({"block:branch": Gate("mod", {"c": 4})}), network.sites)
    body = attach_gates(network, policy)["block:branch"].block.body
    assert repr(body[2]) == repr(extra)


class Called(nn.Module):
    """An activation that is a call of a function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "kept"),
    [
        (lambda x: F.leaky_relu(x, 0.3), "LeakyReLU(negative_slope=0.3)"),
        (lambda x: F.leaky_relu(x, negative_slope=0.3, inplace=True), "LeakyReLU(negative_slope=0.3)"),
        (lambda x: F.gelu(x, approximate="tanh"), "GELU(approximate='tanh')"),
        (lambda x: F.relu(input=x), "ReLU()"),
    ],
)
def test_functions_keep_their_settings_too(function: Callable[[torch.Tensor], torch.Tensor], kept: str) -> None:
    network = find_sites(Units(Called(function)), (3, 16, 16))
    policy = canonical(Policy({"block:branch": Gate("mod", {"c": 4})}), network.sites)
    body = attach_gates(network, policy)["block:branch"].block.body
    assert repr(body[2]) == kept
