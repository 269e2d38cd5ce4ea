"""Mixture-of-Depths at every second block, beside the same blocks left out."""

from __future__ import annotations

from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.sites import find_sites

from .row import Options, Results, Row, saved
from .workbench import Run

# Channels per processed channel; ResNet-20 is four times as narrow as the paper's networks.
C = {"resnet20": 16}


def runs(options: Options, results: Results) -> list[Run]:
    """Dense, gated and without the blocks, from random weights."""
    recipe = options.recipe(lr=0.1)
    blocks = alternate_blocks(options.network)
    gates = {"mod": Gate("mod", {"c": C.get(options.network, 64)}), "without": Gate("drop")}
    found = []
    for seed in options.seeds:
        found.append(options.dense(recipe, None, seed))
        for name, gate in gates.items():
            policy = Policy(dict.fromkeys(blocks, gate))
            found.append(Run(f"{name}, seed {seed}", options.network, policy, recipe, seed))
    return found


def alternate_blocks(network: str) -> list[str]:
    """Return the sites of blocks 1, 3, 5, ... of each stage."""
    sites = find_sites(load_model(network).module, (3, 32, 32)).sites.values()
    return [site.name for site in sites if site.kind == "block" and site.index % 2 == 1]


ROW = Row(
    ("resnet18_cifar", "resnet34_cifar", "resnet50_cifar", "resnet20"),
    20,
    "CIFAR-10: ResNet-18 94.04 / 92.37, ResNet-34 93.69 / 93.83, ResNet-50 93.31 / 93.24 (dense / MoD)",
    runs,
    saved,
)
