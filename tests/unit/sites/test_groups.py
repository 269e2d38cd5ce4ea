"""Channels that several layers share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autogate.models import load_model
from autogate.sites import Network
from tests.support.networks import known_network, network_of


def reads_and_writes(network: Network, site: str) -> tuple[set[str], set[str]]:
    couplings = network.sites[site].couplings
    return {c.name for c in couplings if c.reads}, {c.name for c in couplings if c.writes}


def test_a_residual_stream() -> None:
    network = network_of(load_model("resnet18").module, 64)
    site = network.sites["group:layer2.0.conv2"]
    reads, writes = reads_and_writes(network, site.name)
    assert writes == {"layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2"}
    assert reads == {"layer2.1.conv1", "layer3.0.conv1", "layer3.0.downsample.0"}
    assert site.shape == (128, 8, 8)
    # The second block adds to the stream; the first one has a convolution on its shortcut and is no site.
    assert site.along == ("block:layer2.1",)
    assert site.inside == ()
    assert all(coupling.left(0.5) == 0.5 for coupling in site.couplings)


def test_a_part_of_a_concatenation() -> None:
    network = known_network("densenet40")
    members = {member.node: member for member in network.members("group:dense1.1.conv")}
    # 16 channels of the stem and 12 of the first layer come before it; nine later layers and the transition read it.
    assert members["dense1_2_bn"].positions == tuple(range(28, 40))
    assert not members["dense1_2_bn"].reads
    assert members["dense1_2_conv"].positions == tuple(range(28, 40))
    assert members["dense1_2_conv"].channels == tuple(range(12))
    reads, writes = reads_and_writes(network, "group:dense1.1.conv")
    assert writes == {"dense1.1.conv"}
    assert reads == {f"dense1.{i}.conv" for i in range(2, 12)} | {"trans1.conv"}
    site = network.sites["group:dense1.1.conv"]
    last = next(coupling for coupling in site.couplings if coupling.name == "trans1.conv")
    assert last.left(0.0) == pytest.approx(1 - 12 / (16 + 12 * 12))


def test_channels_that_a_linear_layer_reads_flattened() -> None:
    network = known_network("vgg16_bn")
    member = network.members("group:features.40")[-1]
    assert len(member.positions) == 512 * 49
    assert member.channels[:50] == (0,) * 49 + (1,)
    # The unit keeps its width, so it could not be skipped any more.
    assert network.sites["group:features.40"].inside == ("block:features.40",)


def test_padding_between_channels_is_refused_with_a_reason() -> None:
    network = known_network("resnet20")
    assert not [name for name in network.sites if name.startswith("group:")]
    reason = "without some of its channels the network does not run: its code counts on their number"
    assert network.refused["group:conv1"] == reason


class Net(nn.Module):
    """A stem, something in the middle, and two readers of it."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = middle
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.stem(x))
        return self.head((torch.relu(self.left(x)) * self.right(x)).mean(dim=(2, 3)))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.rand(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=2), "middle convolves groups of channels"),
        (nn.InstanceNorm2d(8, affine=True), "middle is a InstanceNorm2d"),
        (Scale(), "one of its parameters holds a value for each channel"),
    ],
)
def test_layers_that_cannot_be_cut(middle: nn.Module, reason: str) -> None:
    network = network_of(Net(middle), 8)
    assert "group:stem" not in network.sites
    assert reason in network.refused.values()


def test_two_readers_and_a_product() -> None:
    network = network_of(Net(nn.ReLU()), 8)
    # The product couples what both of them write.
    assert {name for name in network.sites if name.startswith("group:")} == {"group:stem", "group:left"}
    assert reads_and_writes(network, "group:left") == ({"head"}, {"left", "right"})


def test_other_padding_than_with_zeros_is_refused_with_a_reason() -> None:
    class Net(nn.Module):
        def __init__(self, mode: str) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1, padding_mode=mode)
            self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).relu()
            return self.head((self.left(x) + self.right(x)).mean((2, 3)))

    assert "group:stem" in network_of(Net("zeros"), 8).sites
    reflecting = network_of(Net("reflect"), 8)
    assert "group:stem" not in reflecting.sites
    assert reflecting.refused["group:stem"] == "stem pads in another way than with zeros of a given number"


def test_trying_out_cuts_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    class Fixed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x[:, torch.arange(3)].reshape(-1, 3, 8, 8)) @ torch.eye(4)

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.ones(8, 1, 1)

    network = network_of(Fixed(Counted()), 8)
    reason = "without some of its channels the network does not run: its code counts on their number"
    assert network.refused["group:stem"] == reason
    assert "group:left" in network.sites
    assert capfd.readouterr() == ("", "")


def test_channels_that_get_everywhere_cost_the_groups_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autogate.sites.couplings._MOST_POSITIONS", 20)
    network = network_of(load_model("resnet20").module, 32)
    assert {site.kind for site in network.sites.values()} == {"block", "map"}
    assert "channels are found at ever more positions" in network.refused["group:"]
