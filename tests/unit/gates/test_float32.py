"""Gates compute in float32 where the network around them runs in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autogate.gates import FAMILIES
from autogate.gates.float32 import in_float32
from autogate.gates.mod import ModGate
from autogate.policy import Gate, Policy
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.networks import images, known_network, own_copy, random_policy

LOW = torch.bfloat16


def autocast() -> torch.autocast:
    return torch.autocast("cpu", LOW)


def seen_by(module: nn.Module, found: list[tuple[Any, ...]]) -> None:
    """Record the element types that a module gets and whether autocast is on inside."""

    def look(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        dtypes = {argument.dtype for argument in arguments if isinstance(argument, Tensor)}
        found.append((dtypes, torch.is_autocast_enabled("cpu")))

    module.register_forward_pre_hook(look)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "drop"])
def test_every_family(family: str) -> None:
    network = own_copy(known_network("resnet20"))
    gates = attach_gates(network, random_policy(network, (family,), seed=1))
    form = training_form(network, gates).train()
    for gate in gates.values():
        gate.begin()
        gate.set_progress(0.5)
    found: list[tuple[Any, ...]] = []
    for gate in gates.values():
        seen_by(gate.block.selector if isinstance(gate, ModGate) and gate.block.selector else gate, found)
    with autocast():
        logits = form(images(network, 4))
    assert logits.dtype == LOW
    logits.float().square().mean().backward()
    if any(not isinstance(gate, ModGate) or gate.block.selector for gate in gates.values()):
        assert found
    assert all(seen == ({torch.float32}, False) for seen in found)
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in form.parameters())
    assert all(p.grad is None or p.grad.isfinite().all() for p in form.parameters())


@pytest.mark.parametrize("fusion", ["first", "last", "original"])
@pytest.mark.parametrize("selector", ["score", "random"])
def test_a_block_inside_a_gate_runs_in_bfloat16(fusion: str, selector: str) -> None:
    network = own_copy(known_network("resnet20"))
    gate = Gate("mod", {"c": 8, "fusion": fusion, "selector": selector})
    policy = canonical(Policy({"block:layer1.1": gate}), network.sites)
    gates = attach_gates(network, policy)
    found: list[tuple[Any, ...]] = []
    seen_by(gates["block:layer1.1"].block.body[2], found)  # what its first convolution returned
    with autocast():
        training_form(network, gates).train()(images(network, 4))
    assert found == [({LOW}, True)]


def test_decisions_are_those_of_float32() -> None:
    """A gate that sees the same map decides alike, with autocast or without."""
    generator = torch.Generator().manual_seed(5)
    network = own_copy(known_network("resnet20"))
    for family, genes in (("antidote", {"channel_ratio": 0.5, "column_ratio": 0.25}), ("lcnet", {})):
        site = next(name for name, s in network.sites.items() if s.kind == "map" and FAMILIES[family].fits(s))
        gate = attach_gates(network, canonical(Policy({site: Gate(family, genes)}), network.sites))[site].eval()
        shape = network.sites[site]
        value = torch.randn(4, shape.channels, 16, 16, generator=generator).to(LOW)
        inputs = gate.predictor.hidden.in_features if family == "lcnet" else shape.channels
        context = torch.randn(4, inputs, 16, 16, generator=generator).to(LOW)
        with torch.no_grad():
            expected = gate(value.float(), context.float())
            with autocast():
                found = gate(value, context)
        assert found.dtype == LOW
        assert torch.equal(found, expected.to(LOW))


def test_without_autocast_nothing_changes() -> None:
    x = torch.randn(3).to(LOW)
    assert in_float32(torch.neg, x).dtype == LOW
    with autocast():
        assert in_float32(torch.neg, x).dtype == torch.float32
        assert in_float32(lambda *given: given[2:], None, x, 7, torch.tensor([1])) == (7, torch.tensor([1]))


def test_batch_statistics_are_in_float32() -> None:
    norm = nn.BatchNorm2d(8, momentum=1.0)
    maps = (torch.randn(64, 8, 16, 16, generator=torch.Generator().manual_seed(2)) * 3 + 100).to(LOW)
    with autocast():
        norm.train()(maps)
    assert norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(norm.running_mean, maps.double().mean((0, 2, 3)).float(), rtol=1e-5, atol=0)
    torch.testing.assert_close(norm.running_var, maps.double().var((0, 2, 3)).float(), rtol=1e-3, atol=0)
