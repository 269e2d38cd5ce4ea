"""The test suite that every gate family inherits; see test_families.py."""

from __future__ import annotations

import random

import torch
from torch import nn

from autogate.gates import FAMILIES
from autogate.policy import Gate, Policy
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form, training_form


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisation layers statistics and scales that are not trivial, so that mistakes show."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            module.running_mean = torch.randn(n, generator=generator) * 0.1
            module.running_var = torch.rand(n, generator=generator) + 0.5
            module.weight.data = torch.rand(n, generator=generator) + 0.5
            module.bias.data = torch.randn(n, generator=generator) * 0.1
    return model.eval()


GENES = {
    ("drop", "block"): [{}],
    ("mod", "block"): [{"c": 8}, {"c": 16}],
    ("lcnet", "block"): [{"tau": 0.9}, {"scale": "none", "tau": 0.899}],
    ("lcnet", "map"): [{"tau": 0.9}, {"tau": 0.9, "scale": "2score"}],
    ("magnitude", "map"): [{"ratio": 0.5}, {"ratio": 0.3}],
    ("antidote", "map"): [
        {"channel_ratio": 0.3}, {"column_ratio": 0.5}, {"channel_ratio": 0.5, "column_ratio": 0.25},
    ],
}  # fmt: skip


def random_policy(network: Network, families: list[str], seed: int, share: float = 0.6) -> Policy:
    rng = random.Random(seed)
    gates = {}
    for name, site in network.sites.items():
        options = [
            Gate(f, g) for f in families if FAMILIES[f].fits(site) is None for g in GENES[(f, site.kind)]
            if not (f == "mod" and g["c"] > site.channels)
        ]  # fmt: skip
        if options and rng.random() < share:
            gates[name] = rng.choice(options)
    return canonical(Policy(gates), network.sites)


def forms_of(network: Network, policy: Policy):
    gates = attach_gates(network, policy)
    generator = torch.Generator().manual_seed(1)
    for gate in gates.values():
        lively(gate)
        for name, p in gate.named_parameters():
            if "score.weight" in name:  # make the decisions differ between inputs and channels
                p.data = torch.randn(p.shape, generator=generator)
    masked = training_form(network, gates).eval()
    return masked, compact_form(network, policy, gates)


def network_of(model: nn.Module, size: int) -> Network:
    return find_sites(lively(model), (3, size, size))
