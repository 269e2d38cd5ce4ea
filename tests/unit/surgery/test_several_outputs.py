"""Networks that return several tensors, and heads that run in training only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from autogate.gates import FAMILIES
from autogate.policy import DENSE, Gate, Policy
from autogate.sites import Network, difference, find_sites, tensors_of
from autogate.surgery import attach_gates, canonical, check_dense, compact_form, run_heads, training_form
from tests.support.heads import (
    Body,
    Unit,
    deep_side_in_training,
    example,
    named,
    scores,
    scores_and_side,
    side_before_in_training,
    side_in_training,
)
from tests.support.networks import lively, random_policy

ENDS = [scores_and_side, named, side_in_training, side_before_in_training, deep_side_in_training]
IN_TRAINING = [side_in_training, side_before_in_training, deep_side_in_training]


def network(end: Callable[..., Any], seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return check_dense(find_sites(lively(Body(end)), (3, 8, 8)))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("seed", range(3))
def test_all_forms_return_what_the_network_does(end: Callable[..., Any], seed: int) -> None:
    here = network(end, seed)
    for policy in (DENSE, random_policy(here, tuple(FAMILIES), seed)):
        gates = attach_gates(here, policy)
        form = training_form(here, gates).eval()
        x = example()
        with torch.no_grad():
            masked, compact, whole = form(x), compact_form(here, policy, gates)(x), here.model.eval()(x)
        assert difference(compact, masked, 1e-5) is None
        assert tensors_of(masked).keys() == tensors_of(whole).keys()
        assert (difference(masked, whole, 1e-5) is None) == policy.is_dense
        expected, found = (tensors_of(net.train()(x)) for net in (here.model, form))
        assert {place: value.shape for place, value in found.items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.parametrize("end", IN_TRAINING)
def test_what_runs_in_training_only_costs_nothing_elsewhere(end: Callable[..., Any]) -> None:
    here = network(end)
    assert here.heads is not None
    called = {str(node.target) for node in here.graph.nodes if node.op == "call_module"}
    assert "classifier" in called
    assert "side" not in called
    compact = compact_form(here, DENSE, {})
    assert not hasattr(compact, "side")
    assert "group:stem" not in here.sites
    assert here.refused["group:stem"] == "its channels are also read by what runs in training only"
    # All others are the sites of a network without such heads.
    assert set(here.sites) == set(network(scores).sites) - {"group:stem"}


class WithLayers(Body):
    """Its head has a residual unit and maps of its own."""

    def __init__(self) -> None:
        super().__init__(self.scores_and_aux)
        self.aux = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), Unit(8), nn.Conv2d(8, 4, 1))

    @staticmethod
    def scores_and_aux(net: Body, first: torch.Tensor, last: torch.Tensor) -> Any:
        aux = net.aux(first) if net.training else None
        found = scores(net, first, last)
        return (found, aux) if net.training else found


def test_layers_that_run_in_training_only_are_no_sites() -> None:
    here, without = check_dense(find_sites(lively(WithLayers()), (3, 8, 8))), network(scores)
    assert set(here.sites) == set(without.sites) - {"group:stem"}
    assert [site.index for site in here.sites.values() if site.kind == "block"] == [0, 1, 2]
    named = {name: reason for name, reason in here.refused.items() if "aux" in name}
    assert named == dict.fromkeys(
        ("map:aux.0", "map:aux.2.conv1", "map:aux.2.conv2", "map:aux.3"), "it runs in training only"
    )


class Halved(nn.BatchNorm2d):
    """A normalisation with a forward pass of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) / 2


def test_statistics_of_heads_are_kept_in_training_alone() -> None:
    module = lively(WithLayers())
    module.aux.append(Halved(4))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    here = find_sites(module, (3, 8, 8))
    form = training_form(here, {}).eval()
    form(example())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    expected, found = (tensors_of(net.train()(example())) for net in (module, form))
    assert difference(found, expected, 1e-5) is None
    assert not torch.equal(module.aux[-1].running_mean, before["aux.4.running_mean"])


@pytest.mark.parametrize("end", IN_TRAINING)
def test_heads_learn_or_are_left_alone(end: Callable[..., Any]) -> None:
    here = network(end)
    policy = canonical(Policy({"map:units.0.conv1": Gate("dce"), "block:units.1": Gate("mod", {"c": 2})}), here.sites)
    assert len(policy.gates) == 2
    form = training_form(here, attach_gates(here, policy)).train()
    sum(value.square().sum() for value in tensors_of(form(example())).values()).backward()
    head = here.model.deep if end is deep_side_in_training else here.model.side
    assert all(parameter.grad is not None for parameter in head.parameters())
    run_heads(form, False)
    assert tensors_of(form(example())).keys() <= {"", "out"}


def test_another_path_in_training_is_still_refused() -> None:
    def probabilities_in_evaluation(net: Body, first: torch.Tensor, last: torch.Tensor) -> Any:
        found = scores(net, first, last)
        return found if net.training else found.softmax(1)

    def noisy_in_training(net: Body, first: torch.Tensor, last: torch.Tensor) -> Any:
        found = scores(net, first, last)
        return found.mul(2) if net.training else found

    for end in (probabilities_in_evaluation, noisy_in_training):
        with pytest.raises(Exception, match="takes another path in training than in evaluation"):
            network(end)
