"""Gates in a network of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import autogate
from autogate.errors import PolicyError
from autogate.models import load_model
from tests.support.networks import assert_close, lively
from tests.unit.sites.test_exact_layer import Net, Standardised

BLOCK, MAP, SHAPE = "block:layer1.1", "map:layer2.0.conv1", (3, 32, 32)


def policy(**gates: Any) -> autogate.Policy:
    return autogate.Policy({{"block": BLOCK, "map": MAP}[kind]: gate for kind, gate in gates.items()})


def test_gates_that_are_always_shut_need_nothing_of_the_applied_network() -> None:
    model, dropped = lively(load_model("resnet20").module), policy(block=autogate.Gate("drop"))
    applied = autogate.apply_policy(model, dropped, SHAPE)
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(
            autogate.compact_model(model, dropped, SHAPE, applied=applied)(x), applied.eval()(x), atol=1e-4
        )


@pytest.mark.e2e
def test_what_was_applied_has_to_belong_to_policy_and_network() -> None:
    model, half = load_model("resnet20").module, policy(map=autogate.Gate("magnitude", {"ratio": 0.5}))
    applied = autogate.apply_policy(model, half, SHAPE)
    for other in (
        policy(map=autogate.Gate("magnitude", {"ratio": 0.25})),
        policy(map=autogate.Gate("gss", {"ratio": 0.5})),
        policy(map=autogate.Gate("antidote", {"channel_ratio": 0.5})),
        policy(),
    ):
        with pytest.raises(PolicyError, match="`applied` has other gates"):
            autogate.compact_model(model, other, SHAPE, applied=applied)
    with pytest.raises(PolicyError, match="`applied` was made of another network"):
        autogate.compact_model(load_model("resnet20").module, half, SHAPE, applied=applied)


@pytest.mark.parametrize("family", ["magnitude", "dce"])
def test_a_computed_weight_is_delivered_as_it_was_trained(family: str) -> None:
    model = lively(Net(conv1=Standardised(8, 8, 3, padding=1)))
    half = autogate.Policy({"map:conv1": autogate.Gate(family, {"ratio": 0.5})})
    applied = autogate.apply_policy(model, half, (3, 16, 16)).eval()
    with torch.no_grad():
        trained = next(p for name, p in applied.named_parameters() if name.startswith("conv1.") and p.ndim == 4)
        trained.add_(torch.randn(trained.shape, generator=torch.Generator().manual_seed(0)))
        x = torch.rand(2, 3, 16, 16)
        assert_close(autogate.compact_model(model, half, (3, 16, 16), applied=applied)(x), applied(x))


@pytest.mark.parametrize("wrong", [None, {}, "drop", autogate.Gate("drop")])
def test_a_policy_is_a_policy(wrong: Any) -> None:
    with pytest.raises(PolicyError, match=r"a policy must be an autogate.Policy, not"):
        autogate.apply_policy(load_model("resnet20").module, wrong, SHAPE)
