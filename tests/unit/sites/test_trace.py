"""Tracing keeps what a network does, in training and in evaluation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autogate.errors import ModelError
from autogate.models import load_model
from autogate.policy import DENSE, Gate, Policy
from autogate.sites import find_sites
from autogate.surgery import attach_gates, compact_form, training_form

SHAPE = (3, 16, 16)


class FunctionalDropout(nn.Module):
    """Hands its training flag to functions, as older networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.conv1(x).relu(), 0.5, self.training)
        x = x + F.dropout(
            self.conv3(F.dropout2d(self.conv2(x).relu(), p=0.5, training=self.training)), 0.3, self.training
        )
        return self.head(x.mean((2, 3)))


class RandomDepth(nn.Module):
    """Takes another path in training than in evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x * torch.empty_like(x[:, :1, :1, :1]).bernoulli_(0.5) / 0.5
        return x


class RandomDepthByHand(RandomDepth):
    """The same, with a call that torch.fx cannot trace."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x * (torch.rand(x.shape[0], 1, 1, 1) < 0.5) / 0.5
        return x


class WithRandomDepth(nn.Module):
    depth_type: type[nn.Module] = RandomDepth

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.depth = self.depth_type(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.depth(self.conv2(self.conv1(x).relu()))
        return self.head(x.mean((2, 3)))


class WithRandomDepthByHand(WithRandomDepth):
    depth_type = RandomDepthByHand


def traced(module: nn.Module, shape: tuple[int, int, int] = SHAPE) -> fx.GraphModule:
    network = find_sites(module, shape)
    return training_form(network, attach_gates(network, DENSE))


def seeded(module: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(7)
    return module(x)


@pytest.mark.parametrize("make", [FunctionalDropout, WithRandomDepth, WithRandomDepthByHand])
def test_training_flag_is_read_anew(make: type[nn.Module]) -> None:
    module = make()
    form = traced(module)
    x = torch.randn(4, *SHAPE)
    for training in (True, False, True):
        module.train(training)
        form.train(training)
        assert torch.equal(seeded(form, x), seeded(module, x))
        assert training != torch.equal(form(x), form(x))


def test_a_form_follows_its_own_flag() -> None:
    module = FunctionalDropout()
    form = traced(module).train()
    module.eval()
    x = torch.randn(4, *SHAPE)
    assert not torch.equal(form(x), form(x))
    assert torch.equal(form.eval()(x), module(x))


@pytest.mark.parametrize("make", [FunctionalDropout, WithRandomDepth])
def test_flag_survives_surgery(make: type[nn.Module]) -> None:
    module = make().train()
    network = find_sites(module, SHAPE)
    block = next(name for name, site in network.sites.items() if site.kind == "block")
    policy = Policy({block: Gate("lcnet", {"target": 0.5, "tau": 0.5, "scale": "none", "reduction": 16})})
    gates = attach_gates(network, policy)
    x = torch.randn(4, *SHAPE)
    form, compact = training_form(network, gates), compact_form(network, policy, gates)
    assert not torch.equal(form.train()(x), form(x))
    # All gates open and nothing scaled: that is the network itself, without dropout.
    torch.testing.assert_close(compact(x), module.eval()(x))
    torch.testing.assert_close(form.eval()(x), module(x))


def test_module_that_branches_on_training_stays_whole() -> None:
    module = WithRandomDepth()
    network = find_sites(module, SHAPE)
    assert [node.target for node in network.graph.nodes if node.op == "call_module"] == [
        "stem",
        "conv1",
        "conv2",
        "depth",
        "head",
    ]
    assert "block:" in " ".join(network.sites)


@pytest.mark.e2e
def test_torchvision_stochastic_depth() -> None:
    module = load_model("efficientnet_b0", num_classes=4).module
    form = traced(module, (3, 32, 32))
    x = torch.randn(2, 3, 32, 32)
    for training in (True, False):
        module.train(training)
        form.train(training)
        torch.testing.assert_close(seeded(form, x), seeded(module, x))


def test_branching_on_training_in_the_network_itself_is_refused() -> None:
    class TopLevel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x.relu() if self.training else x

    with pytest.raises(ModelError, match="TopLevel takes another path in training.*a separate module"):
        find_sites(TopLevel(), SHAPE)


class Adaptive(nn.Module):
    """Decides by the data, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if x.mean() > 0 else x


def test_untraceable_networks_name_module_and_reason() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return x.relu() if x.mean() > 0 else x

    module = Whole().train()
    with pytest.raises(ModelError, match=r"cannot trace module 'Whole'.*control flow") as raised:
        find_sites(module, SHAPE)
    assert "\n" not in str(raised.value)
    assert module.training
    hidden = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(Adaptive(), nn.Flatten()))
    with pytest.raises(ModelError, match=r"no site for a gate.*cannot trace module '1\.0'.*control flow"):
        find_sites(hidden, SHAPE)


def test_an_untraceable_part_is_called_as_a_whole() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Adaptive(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3)
    ).eval()
    network = find_sites(module, SHAPE)
    assert "1" in [node.target for node in network.graph.nodes]
    assert "map:2" in network.sites
    form = training_form(network, attach_gates(network, DENSE)).eval()
    for x in (torch.randn(2, *SHAPE) + 3, torch.randn(2, *SHAPE) - 3):
        torch.testing.assert_close(form(x), module(x))


def test_in_place_operations_do_not_disturb_a_gate() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x), inplace=True)
            out = self.conv2(F.relu(self.conv1(x), inplace=True))
            out += x
            x = F.relu(out, inplace=True)
            return self.head(x.mean((2, 3)))

    module = InPlace().eval()
    x = torch.randn(2, *SHAPE)
    torch.testing.assert_close(traced(module).eval()(x), module(x))
