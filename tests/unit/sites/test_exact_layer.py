"""Layers of a subclass are what their forward pass does, not what their class is called."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autogate.gates import FAMILIES
from autogate.policy import DENSE, Gate, Policy
from autogate.sites import Network, is_exact_layer
from autogate.surgery import canonical, compact_form
from tests.support.networks import assert_close, forms_of, images, network_of


class Standardised(nn.Conv2d):
    """Weight standardisation; a decision by the data keeps it whole in a trace."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] < 1:
            return x
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Padded(nn.Conv2d):
    """Pads by the size of its input, as networks that come from TensorFlow do."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 1:
            x = F.pad(x, (0, 2, 0, 2))
        return super().forward(x)


class Inner(nn.Conv2d):
    """Changes what a convolution's own forward pass calls."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, 2 * weight, bias)


class Activated(nn.BatchNorm2d):
    """A normalisation with an activation inside."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class Odd(nn.ReLU):
    """No ReLU; applied twice it does something else."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] < 1:
            return x
        return F.relu(x) - 0.1 * x


class Named(nn.Conv2d):
    """A convolution that is only made in another way."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)


class Net(nn.Module):
    """Two residual units; layers can be put in place of its own."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        for i in range(1, 5):
            self.add_module(f"conv{i}", nn.Conv2d(8, 8, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(8))
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 4)
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = self.act(x + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))
        x = self.act(x + self.bn4(self.conv4(self.act(self.bn3(self.conv3(x))))))
        return self.head(x.mean((2, 3)))


def assert_forms_agree(network: Network) -> int:
    """Compare network, compact form, and both forms under every gate; return how many gates there were."""
    x, tried = images(network, 3), 0
    with torch.no_grad():
        assert_close(compact_form(network, DENSE, {})(x), network.model(x))
        for name, site in network.sites.items():
            for family in FAMILIES:
                if not FAMILIES[family].fits(site):
                    continue
                genes = {"antidote": {"channel_ratio": 0.5}, "mod": {"c": 4}}.get(family, {})
                masked, compact = forms_of(network, canonical(Policy({name: Gate(family, genes)}), network.sites))
                assert_close(compact(x), masked(x))
                tried += 1
    return tried


class Dynamic(nn.Conv2d):
    """A weight that depends on the image: no plain convolution does that."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * (1 + x.mean()), self.bias, self.stride, self.padding)


class Doubled(nn.BatchNorm2d):
    """Does something else in training than a normalisation does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x if self.training else x)


def test_convolutions_that_depend_on_the_image_are_left_alone() -> None:
    network = network_of(Net(conv1=Dynamic(8, 8, 3, padding=1), conv4=Dynamic(8, 8, 3, padding=1)), 16)
    # The first unit's inner map has a producer that cannot be cut, the second one's a reader that cannot gather.
    assert [name for name in network.sites if name.startswith(("map:", "group:"))] == ["map:conv2.input"]
    assert not any(site.plain_chain for site in network.sites.values() if site.kind == "block")
    assert assert_forms_agree(network) >= 4


def test_a_normalisation_with_a_training_of_its_own_is_not_folded() -> None:
    network = network_of(Net(bn1=Doubled(8)), 16)
    assert "map:conv1" not in network.sites
    assert isinstance(network.model.get_submodule("bn1"), Doubled)
    assert assert_forms_agree(network) >= 4


def test_an_activation_of_its_own_is_none() -> None:
    network = network_of(Net(act=Odd()), 16)
    assert not any(site.plain_chain for site in network.sites.values() if site.kind == "block")
    assert_forms_agree(network)


def test_a_subclass_that_computes_the_same_is_as_good() -> None:
    network, known = (network_of(net, 16) for net in (Net(conv1=Named(8), conv4=Named(8)), Net()))
    assert list(network.sites) == list(known.sites)
    assert network.refused == known.refused
    assert assert_forms_agree(network) > 10


def test_what_is_plain() -> None:
    conv = nn.Conv2d(3, 8, 3)
    assert is_exact_layer(conv, nn.Conv2d)
    assert is_exact_layer(Named(8), nn.Conv2d)
    assert is_exact_layer(nn.BatchNorm2d(8), nn.BatchNorm2d)
    assert not any(is_exact_layer(kind(8, 8, 3), nn.Conv2d) for kind in (Standardised, Padded, Inner))
    assert not is_exact_layer(conv, nn.Linear)
    conv.forward = lambda x: x  # type: ignore[method-assign]
    assert not is_exact_layer(conv, nn.Conv2d)
