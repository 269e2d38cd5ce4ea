"""Which sites are found where, counted by reasoning about each architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autogate import api
from autogate.errors import ModelError
from autogate.gates import FAMILIES
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.networks import known_network


def of_kind(network: Network, kind: str) -> list[str]:
    return [name for name, site in network.sites.items() if site.kind == kind]


def test_resnet20() -> None:
    network = known_network("resnet20")
    # Three stages of three units; the first unit of the later two changes width and stride.
    assert of_kind(network, "block") == [
        "block:layer1.0",
        "block:layer1.1",
        "block:layer1.2",
        "block:layer2.1",
        "block:layer2.2",
        "block:layer3.1",
        "block:layer3.2",
    ]
    # Every unit has one inner map, between its two convolutions.
    assert of_kind(network, "map") == [f"map:layer{i}.{j}.conv1" for i in (1, 2, 3) for j in (0, 1, 2)]
    block = network.sites["block:layer2.1"]
    assert block.shape == (32, 16, 16)
    assert block.stage == "stage2"
    assert block.residual
    assert block.plain_chain
    assert block.macs == 2 * 32 * 32 * 9 * 16 * 16
    assert [conv.name for conv in block.convs] == ["layer2.1.conv1", "layer2.1.conv2"]
    inner = network.sites["map:layer2.0.conv1"]
    assert inner.macs == (16 * 32 + 32 * 32) * 9 * 16 * 16
    assert inner.convs[0].stride == (2, 2)
    assert inner.consumer.name == "layer2.0.conv2"
    assert inner.has_producer
    assert inner.inside == ()
    assert network.sites["map:layer2.1.conv1"].inside == ("block:layer2.1",)


@pytest.mark.parametrize(
    ("name", "size", "blocks", "maps", "groups"),
    [
        # Two units per stage; the first of stages 2 to 4 has a convolution on its shortcut.
        # The stream of each stage is a group.
        ("resnet18", 64, 2 + 1 + 1 + 1, 8, 4),
        # 3, 4, 6, 3 bottlenecks; the first of every stage has a convolution on its shortcut. Two maps each.
        # The stem is a group of its own, since the first stage is wider.
        pytest.param("resnet50", 64, 2 + 3 + 5 + 2, 2 * 16, 1 + 4, marks=pytest.mark.e2e),
        # 64 128 256-256 512-512 512-512-512: convolutions that keep the width; a map between any two of the 13.
        # What the last one writes is read by a linear layer.
        pytest.param("vgg16_bn", 64, 1 + 1 + 2 + 2 + 3, 12, 1, marks=pytest.mark.e2e),
        # Repeats beyond the first of each stage. Maps: 16 expanded ones, the stem's before the depthwise
        # convolution, and the two linear bottlenecks that only one convolution reads.
        # Groups: the streams of the five stages with repeats, and the last convolution before the linear layer.
        ("mobilenet_v2", 64, 1 + 2 + 3 + 2 + 2, 16 + 1 + 2, 5 + 1),
        # 6 + 12 + 24 + 16 layers, each with a bottleneck map and a concatenated input, and three transitions.
        # Groups: the stem, what each layer adds to the concatenation, and the transitions.
        pytest.param("densenet121", 64, 0, 58 + 58 + 3, 1 + 58 + 3, marks=pytest.mark.e2e),
        # Twelve layers per block and two transitions: each reads its own normalised view of what came before.
        ("densenet40", 32, 0, 3 * 12 + 2, 1 + 36 + 2),
        pytest.param("vgg16_bn_cifar", 32, 1 + 1 + 2 + 2 + 3, 12, 1, marks=pytest.mark.e2e),
    ],
)
def test_counts(name: str, size: int, blocks: int, maps: int, groups: int) -> None:
    network = find_sites(load_model(name).module, (3, size, size))
    assert [len(of_kind(network, kind)) for kind in ("block", "map", "group")] == [blocks, maps, groups]
    for site in network.sites.values():
        assert site.macs == sum(conv.macs for conv in site.convs) or not site.plain_chain
        assert any(family.fits(site) for family in FAMILIES.values())


def test_densenet_maps_without_a_producer_fit_no_family_that_thins_the_producer() -> None:
    network = known_network("densenet40")
    assert {"map:dense1.11.conv.input", "map:trans1.conv.input"} <= set(network.sites)
    for site in [site for site in network.sites.values() if site.kind == "map"]:
        assert not site.has_producer
        assert [name for name in FAMILIES.built_in() if FAMILIES[name].fits(site)] == ["antidote"]
        for name in ("magnitude", "lcnet"):
            assert FAMILIES[name].unsupported_reason(site) == "no single convolution writes the map"


@pytest.mark.e2e
def test_vgg_units_are_not_residual_and_overlap_with_their_maps() -> None:
    sites = known_network("vgg16_bn").sites
    assert not sites["block:features.17"].residual
    assert sites["map:features.17"].inside == ("block:features.17", "block:features.20")


def test_maps_that_are_not_activated_do_not_fit_antidote() -> None:
    sites = known_network("mobilenet_v2").sites
    linear = [name for name, site in sites.items() if site.kind == "map" and not site.activated]
    # Bottlenecks that only one convolution reads: no activation follows their normalisation.
    assert linear == ["map:features.1.conv.1", "map:features.17.conv.2"]
    reason = "no activation stands right before the convolution that reads the map"
    assert {FAMILIES["antidote"].unsupported_reason(sites[name]) for name in linear} == {reason}
    assert all(FAMILIES["magnitude"].fits(sites[name]) for name in linear)


@pytest.mark.parametrize(
    ("layers", "activated"),
    [
        ([nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)], True),
        ([nn.SiLU(), nn.Dropout2d(0.1)], True),
        ([nn.BatchNorm2d(8)], False),
        ([nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8)], False),
    ],
)
def test_which_maps_are_activated(layers: list[nn.Module], activated: bool) -> None:
    network = find_sites(Classifier(nn.Sequential(*layers, nn.Conv2d(8, 8, 3))), (3, 16, 16))
    assert network.sites["map:stem"].activated == activated


def test_a_shortcut_with_a_convolution_passes_the_input_by_too() -> None:
    class Widening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn, self.conv, self.shortcut = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.bn(x).relu()) + self.shortcut(x)

    assert of_kind(find_sites(Classifier(nn.Sequential(Widening(), nn.Conv2d(8, 8, 1))), (3, 16, 16)), "map") == []


def test_depthwise_convolutions_belong_to_the_map() -> None:
    site = known_network("mobilenet_v2").sites["map:features.3.conv.0.0"]
    expand, depthwise, project = 24 * 144, 9 * 144, 144 * 24
    assert site.macs == (expand + depthwise + project) * 16 * 16
    assert not site.plain_chain
    assert not FAMILIES["lcnet"].fits(site)
    assert FAMILIES["magnitude"].fits(site)


def test_sites_command_lists_the_same() -> None:
    rows = [site.to_json() for site in api.find_sites("resnet20")]
    assert [row["name"] for row in rows if not row["reason"]] == list(known_network("resnet20").sites)
    assert rows[-1]["name"] == "group:conv1"
    assert rows[-1]["families"] == []
    assert "its code counts on their number" in rows[-1]["reason"]
    first = rows[0]
    assert set(first["families"]) >= {"drop", "mod", "lcnet"}
    assert tuple(first["shape"]) == (16, 32, 32)
    assert set(rows[1]["families"]) >= {"magnitude", "antidote", "lcnet", "dce", "gss"}
    for name, site in known_network("resnet20").sites.items():
        row = next(row for row in rows if row["name"] == name)
        assert row["families"] == [family.name for family in FAMILIES.values() if family.fits(site)]


class PreActivation(nn.Module):
    """Normalise, activate, convolve, twice, and add the untouched input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        return x + self.conv2(F.relu(self.bn2(out)))


class Classifier(nn.Module):
    """A stem, a body, and a head."""

    def __init__(self, body: nn.Module, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.body = body
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def test_pre_activation_network() -> None:
    network = find_sites(Classifier(nn.Sequential(PreActivation(8), PreActivation(8))), (3, 16, 16))
    assert of_kind(network, "block") == ["block:body.0", "block:body.1"]
    # The chain conv1 - bn2 - relu - conv2 is one map. What conv1 reads is the stream, which no map gate touches.
    assert of_kind(network, "map") == ["map:body.0.conv1", "map:body.1.conv1"]
    assert all(network.sites[name].residual for name in of_kind(network, "block"))


class Unit(nn.Module):
    """A residual unit that adds in the way it is told to."""

    def __init__(self, channels: int, add: Callable[[Tensor, Tensor], Tensor], shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = shortcut
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.conv2(self.conv1(x).relu()), self.shortcut(x)).relu()


def in_place(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a


@pytest.mark.parametrize(
    "add", [lambda a, b: a + b, lambda a, b: b + a, torch.add, in_place], ids=["a+b", "b+a", "torch.add", "+="]
)
def test_identity_shortcuts_however_they_are_written(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    for shortcut in (nn.Identity(), nn.Sequential(), nn.Sequential(nn.Identity())):
        network = find_sites(Classifier(Unit(8, add, shortcut)), (3, 16, 16))
        assert of_kind(network, "block") == ["block:body"]
        assert network.sites["block:body"].residual


@pytest.mark.parametrize(
    ("add", "residual"),
    [
        (lambda a, b: torch.add(a, b, alpha=0.5), False),
        (lambda a, b: torch.add(a, b, alpha=1), True),
        (lambda a, b: a.add(b, alpha=2), False),
        (lambda a, b: a.add(b), True),
    ],
    ids=["half", "once", "method twice", "method"],
)
def test_a_sum_with_a_factor_is_no_plain_sum(add: Callable[[Tensor, Tensor], Tensor], residual: bool) -> None:
    network = find_sites(Classifier(Unit(8, add, nn.Identity())), (3, 16, 16))
    assert any(site.residual for site in network.sites.values()) == residual


def test_a_shortcut_that_computes_is_no_block_site() -> None:
    for shortcut in (nn.Conv2d(8, 8, 1), nn.ReLU()):
        network = find_sites(Classifier(Unit(8, torch.add, shortcut)), (3, 16, 16))
        assert [name for name in of_kind(network, "block") if network.sites[name].residual] == []


def test_branch_that_is_read_elsewhere_is_no_block_site() -> None:
    class Leaking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            inner = self.conv1(x)
            return (x + self.conv2(inner)) * inner.mean()

    tail = (nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    network = find_sites(Classifier(nn.Sequential(Leaking(), *tail)), (3, 16, 16))
    # What the last one writes goes to the linear layer.
    assert list(network.sites) == ["map:body.1", "group:body.2"]


def test_convolutions_called_twice_are_left_alone() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.last = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.conv(self.conv(x).relu()).relu())

    tail = nn.Conv2d(8, 8, 3, padding=1)
    network = find_sites(Classifier(nn.Sequential(Shared(), tail)), (3, 16, 16))
    # What the first call writes is no map of its own; what the second one writes has one reader.
    assert list(network.sites) == ["map:body.0.last.input", "map:body.0.last", "group:body.1"]
    assert network.refused["group:body.0.conv"] == "body.0.conv is not called exactly once"


def test_normalisations_called_twice_are_left_alone() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
            self.bn, self.own = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

        def forward(self, x: Tensor) -> Tensor:
            x = self.second(self.bn(self.first(x)).relu())
            return self.own(self.third(self.bn(x).relu()))

    network = find_sites(Classifier(nn.Sequential(Shared(), nn.Conv2d(8, 8, 1))), (3, 16, 16))
    # Both calls hold the channels of two maps; what is behind them has no single layer that writes it.
    slices = [name for name, site in network.sites.items() if FAMILIES["dce"].fits(site)]
    assert "map:stem" in slices
    assert not {"map:body.0.first", "map:body.0.second"} & set(slices)
    assert set(network.refused.values()) == {"body.0.bn is not called exactly once"}
    # A training on part of the channels leaves the normalisation alone.
    policy = canonical(Policy(dict.fromkeys(slices, Gate("dce"))), network.sites)
    gates = attach_gates(network, policy)
    form = training_form(network, gates).train()
    for gate in gates.values():
        gate.begin()
        gate.set_progress(0.0)
    form(torch.rand(4, 3, 16, 16)).sum().backward()


@pytest.mark.e2e
def test_stages_are_resolutions() -> None:
    sites = known_network("resnet50").sites
    sizes: dict[str, set[tuple[int, int]]] = {}
    for site in sites.values():
        sizes.setdefault(site.stage, set()).add(site.shape[1:])
    assert {stage: len(found) for stage, found in sizes.items()} == dict.fromkeys(sizes, 1)
    assert [site.stage for site in sites.values()] == sorted(site.stage for site in sites.values())


def test_network_without_a_site() -> None:
    class Perceptron(nn.Sequential):
        pass

    with pytest.raises(ModelError, match="Perceptron has no site for a gate.*residual.*shape-preserving.*feature map"):
        find_sites(Perceptron(nn.Flatten(), nn.Linear(3 * 64, 4)), (3, 8, 8))


def test_input_that_does_not_fit_is_explained() -> None:
    with pytest.raises(ModelError, match=r"fails on an input of shape \(1, 3, 4, 4\).*--input-size"):
        find_sites(load_model("vgg16_bn_cifar").module, (3, 4, 4))


def test_finding_sites_changes_nothing() -> None:
    module = load_model("resnet20").module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    find_sites(module, (3, 32, 32))
    assert module.training
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("name", "size", "indices"),
    [
        # The stem is no block; the first block of the later stages changes the width and is no site.
        ("resnet18_cifar", 32, {"layer1.0": 0, "layer1.1": 1, "layer2.1": 1, "layer4.1": 1}),
        # Every stage begins with a block that is no site.
        pytest.param("resnet50", 64, {"layer1.1": 1, "layer1.2": 2, "layer3.5": 5}, marks=pytest.mark.e2e),
        # Plain units: within a stage the first convolution widens, except in the last stage.
        pytest.param(
            "vgg16_bn",
            64,
            {"features.3": 1, "features.17": 1, "features.20": 2, "features.34": 0, "features.37": 1},
            marks=pytest.mark.e2e,
        ),
        pytest.param(
            "mobilenet_v2",
            64,
            {"features.3.conv": 1, "features.5.conv": 1, "features.6.conv": 2},
            marks=pytest.mark.e2e,
        ),
    ],
)
def test_blocks_are_numbered_with_those_that_are_no_sites(name: str, size: int, indices: dict[str, int]) -> None:
    sites = find_sites(load_model(name).module, (3, size, size)).sites
    assert {path: sites[f"block:{path}"].index for path in indices} == indices
