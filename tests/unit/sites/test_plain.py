"""Fused layers of libraries and users become plain ones on a copy, and gates fit them as they fit plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autogate.models import load_model
from autogate.sites import find_sites
from tests.support.networks import assert_close, lively, network_of
from tests.unit.sites.test_exact_layer import Activated, Inner, Net, Padded, Standardised, assert_forms_agree


class ConvNormAct(nn.Conv2d):
    """A convolution that normalises and activates, as users write it."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, padding=1)
        self.bn = Activated(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(super().forward(x))


class Features(nn.Linear):
    """A linear layer that is only written out."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


def same_sites(module: nn.Module) -> None:
    found, plain = network_of(module, 16), network_of(Net(), 16)
    assert list(found.sites) == list(plain.sites)
    assert assert_forms_agree(found) > 10


@pytest.mark.parametrize("kind", [Standardised, Inner])
def test_a_computed_weight_becomes_a_weight(kind: type[nn.Conv2d]) -> None:
    same_sites(Net(conv1=kind(8, 8, 3, padding=1), conv4=kind(8, 8, 3, padding=1)))


def test_padding_by_the_size_of_the_input_stays_beside_the_convolution() -> None:
    network = network_of(Net(conv1=Padded(8, 8, 3), conv4=Padded(8, 8, 3)), 16)
    assert "map:conv1.conv" in network.sites
    assert {"block:conv1", "map:conv3"} <= {name.removesuffix(".conv") for name in network.sites}
    assert assert_forms_agree(network) > 10


def test_normalisation_with_activation_is_two_layers() -> None:
    same_sites(Net(bn1=Activated(8), bn3=Activated(8)))


def test_convolution_with_normalisation_and_activation_is_three_layers() -> None:
    network = network_of(Net(conv1=ConvNormAct(8), bn1=nn.Identity()), 16)
    assert "map:conv1.conv" in network.sites
    assert assert_forms_agree(network) > 10


def test_a_linear_layer_of_a_subclass_is_a_member_like_any() -> None:
    network = network_of(Net(head=Features(8, 4)), 16)
    assert "head" in {coupling.name for site in network.sites.values() for coupling in site.couplings}


def test_the_copy_shares_weights_and_statistics_and_the_network_stays_as_it_is() -> None:
    module = lively(Net(bn1=Activated(8), conv4=Standardised(8, 8, 3, padding=1)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = find_sites(module, (3, 16, 16))
    assert type(module.bn1) is Activated
    assert network.model.get_parameter("conv1.weight") is module.conv1.weight
    assert network.model.get_parameter("bn1.norm.weight") is module.bn1.weight
    assert network.model.get_buffer("bn1.norm.running_mean") is module.bn1.running_mean
    # What is computed has a weight of its own.
    assert network.model.get_parameter("conv4.weight") is not module.conv4.weight
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_layer_under_two_names_is_made_plain_under_both() -> None:
    bn = Activated(8)
    network = network_of(Net(bn1=bn, bn3=bn), 16)
    assert network.model.get_submodule("bn1") is network.model.get_submodule("bn3")
    assert type(network.model.get_submodule("bn1")) is not Activated


def test_a_plain_network_is_not_copied() -> None:
    module = Net()
    assert find_sites(module, (3, 16, 16)).model is module


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "size", "fused"),
    [
        ("regnetx_002", 32, "BatchNormAct2d"),
        ("tf_mobilenetv3_small_minimal_100", 64, "Conv2dSame"),
        ("nf_resnet26", 32, "ScaledStdConv2d"),
    ],
)
def test_a_network_of_timm_has_the_same_sites_as_a_module_and_by_name(name: str, size: int, fused: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=5)
    (kind,) = {type(part) for part in module.modules() if type(part).__name__ == fused}
    own = network_of(module, size)
    named = find_sites(load_model(f"timm:{name}", num_classes=5).module, (3, size, size))
    assert list(own.sites) == list(named.sites)
    assert {site.kind for site in own.sites.values()} == {"block", "map", "group"}
    assert not [part for part in own.model.modules() if type(part) is kind]
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert_close(own.model.eval()(x), module(x))
