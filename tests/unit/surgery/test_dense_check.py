"""A network that does not survive being rebuilt is refused where it comes in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import autogate
from autogate.errors import ModelError
from autogate.models import load_model
from autogate.nas.evaluating import traced_network
from autogate.records import Preprocessing
from autogate.surgery import check_dense
from tests.support.networks import known_network, lively


def hooked() -> nn.Module:
    """A hook changes what a convolution writes; the convolution is made anew when its normalisation is folded in."""
    model = lively(load_model("resnet20").module)
    model.get_submodule("layer1.0.conv1").register_forward_hook(lambda module, args, result: 2 * result)
    return model


def test_hooks_that_change_results() -> None:
    policy = autogate.Policy({"block:layer1.1": autogate.Gate("drop")})
    for enter in (
        lambda model: autogate.compact_model(model, policy, (3, 32, 32)),
        lambda model: autogate.apply_policy(model, policy, (3, 32, 32)),
        lambda model: traced_network(model, Preprocessing(32)),
    ):
        with pytest.raises(ModelError, match="cannot be rebuilt: without any gate .* differ by") as error:
            enter(hooked())
        assert "\n" not in str(error.value)


def test_hooks_that_only_look_do_no_harm() -> None:
    model = lively(load_model("resnet20").module)
    seen: list[torch.Size] = []
    model.get_submodule("layer1.0.conv1").register_forward_hook(lambda module, args, result: seen.append(result.shape))
    assert autogate.compact_model(model, autogate.Policy(), (3, 32, 32)) is not None
    assert seen


def test_the_network_stays_as_it_is() -> None:
    network = known_network("resnet20")
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    assert check_dense(network) is network
    after = network.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
