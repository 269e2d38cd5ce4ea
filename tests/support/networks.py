"""Networks and policies that several test folders use."""

from __future__ import annotations

import copy
import functools
import random
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from autogate.gates import FAMILIES, TrainingGate
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.records import Site
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form, training_form

# Input sizes at which the networks are tested; small, so that a test takes little time.
SIZES = {"resnet20": 32, "resnet50": 64, "vgg16_bn": 64, "mobilenet_v2": 64, "densenet40": 32}
FAST = ("resnet20",)


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisation layers statistics and scales that are not trivial, so that mistakes show."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            n = part.num_features
            part.running_mean = torch.randn(n, generator=generator) * 0.1
            part.running_var = torch.rand(n, generator=generator) + 0.5
            part.weight.data = torch.rand(n, generator=generator) + 0.5
            part.bias.data = torch.randn(n, generator=generator) * 0.1
    return module.eval()


def network_of(module: nn.Module, size: int) -> Network:
    return find_sites(lively(module), (3, size, size))


@functools.cache
def known_network(name: str) -> Network:
    """Return a traced network shared by all tests; nobody may change it."""
    module = load_model(name, num_classes=10).module
    if name == "vgg16_bn":
        # Its three linear layers hold 120 million weights and no site; they would only cost time.
        module.classifier = nn.Linear(512 * 7 * 7, 10)
    return network_of(module, SIZES[name])


def own_copy(network: Network) -> Network:
    """Return a network whose weights a test may change."""
    return replace(network, model=copy.deepcopy(network.model))


def images(network: Network, batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *network.input_shape, generator=generator)


def options_at(site: Site, families: tuple[str, ...]) -> list[Gate]:
    """Every test gate of ``families`` that fits ``site``."""
    found = []
    for family in (FAMILIES[name] for name in families if FAMILIES[name].fits(site)):
        gates = [Gate(family.name, genes) for genes in family.test_genes(site.kind)]
        found += [gate for gate in gates if family.invalid_reason(site, family.fill(site, gate)) is None]
    return found


def random_policy(network: Network, families: tuple[str, ...], seed: int, share: float = 0.6) -> Policy:
    """Return a canonical policy with at least one gate."""
    rng = random.Random(seed)
    places = {name: found for name, site in network.sites.items() if (found := options_at(site, families))}
    gates = {name: rng.choice(found) for name, found in places.items() if rng.random() < share}
    if not gates:
        assert places, f"{families} fit at no site of this network"
        name = rng.choice(list(places))
        gates[name] = rng.choice(places[name])
    return canonical(Policy(gates), network.sites)


def lively_gates(network: Network, policy: Policy) -> dict[str, TrainingGate]:
    """Return gates as if trained: their decisions differ between images and channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        gates = attach_gates(network, policy)
        for gate in gates.values():
            lively(gate)
            for name, parameter in gate.named_parameters():
                # A fresh selector scores all channels nearly alike.
                if "score.weight" in name or "expand.weight" in name:
                    parameter.data = torch.randn(parameter.shape)
    return gates


def forms_of(network: Network, policy: Policy) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Return training form (in evaluation) and compact form of ``policy`` with the same lively gates."""
    gates = lively_gates(network, policy)
    return training_form(network, gates).eval(), compact_form(network, policy, gates)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Assert equality up to ``tolerance``, relative to the largest value expected."""
    assert found.shape == expected.shape
    scale = float(expected.abs().max())
    worst = float((found - expected).abs().max())
    assert worst <= tolerance * scale, f"differs by {worst / scale:.2e} of the largest value"
