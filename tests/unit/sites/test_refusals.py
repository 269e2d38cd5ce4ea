"""Whatever is no site is named, with the reason."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from autogate.sites import Network, find_sites, module_of
from tests.support.networks import known_network
from tests.unit.sites.test_tracer import SHAPE, Net, Unit, by_value


class Branch(nn.Module):
    """A sum that is no residual unit, in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(x)
        out = self.conv2(inner.relu())
        if self.way == "shortcut":
            return self.conv3(x) + out
        if self.way == "leaks":
            return (x + out) * inner.mean()
        if self.way == "read twice":
            return (x + out) * out.mean()
        if self.way == "no convolution":
            return x + x.tanh()
        shifted = x * 2
        return shifted + self.conv3(shifted) * x


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("shortcut", "its shortcut is not the identity: unit.conv3 stands on it"),
        ("leaks", "unit.conv1 in its branch is also read outside of it, by mean of unit"),
        ("read twice", "what its branch computes is also read by mean of unit"),
        ("no convolution", "its branch has no convolution"),
        ("reads before", "its branch also reads stem, which is outside of it"),
    ],
)
def test_why_a_sum_is_no_block(way: str, reason: str) -> None:
    network = find_sites(Net(nn.Sequential(Branch(way), Unit())), SHAPE)
    assert network.refused["block:unit.0"] == reason.replace("unit", "unit.0")
    assert "block:unit.1" in network.sites
    assert "block:unit.1" not in network.refused


def test_a_module_that_cannot_be_opened_has_its_reason_and_its_layers_too() -> None:
    network = find_sites(Net(nn.Sequential(Unit(by_value), Unit())), SHAPE)
    assert "control flow depends on the values of a tensor" in network.refused["block:unit.0"]
    assert network.refused["group:unit.0.conv1"] == "unit.0.conv1 is inside of a module that is called as a whole"


def unnamed(network: Network) -> list[str]:
    """Return convolutions of feature maps that are part of no site and have no reason."""
    named = {conv.name for site in network.sites.values() for conv in site.convs}
    named |= {coupling.name for site in network.sites.values() for coupling in site.couplings}
    named |= {name.partition(":")[2] for name in network.refused}
    convs = [str(node.target) for node in network.graph.nodes if isinstance(module_of(node, network.model), nn.Conv2d)]
    return [path for path in convs if path not in named]


@pytest.mark.parametrize("seed", range(5))
def test_every_convolution_of_a_random_network_is_in_a_site_or_has_a_reason(seed: int) -> None:
    rng = random.Random(seed)
    ways = ["shortcut", "leaks", "read twice", "no convolution", "reads before"]
    parts: list[nn.Module] = []
    for _ in range(4):
        grouped = nn.Conv2d(8, 8, 3, padding=1, groups=rng.choice([1, 2, 8]))
        parts.append(rng.choice([Branch(rng.choice(ways)), Unit(), Unit(squeeze=True), Unit(by_value), grouped]))
    torch.manual_seed(seed)
    network = find_sites(Net(nn.Sequential(*parts, Unit())), SHAPE)
    assert unnamed(network) == []
    assert "cannot be told" not in " ".join(network.refused.values())


@pytest.mark.parametrize(
    "name", ["resnet20", *(pytest.param(name, marks=pytest.mark.e2e) for name in ("densenet40", "mobilenet_v2"))]
)
def test_known_networks_leave_nothing_unnamed(name: str) -> None:
    assert unnamed(known_network(name)) == []
