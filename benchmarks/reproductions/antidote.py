"""AntiDote on ResNet-56 and VGG-16: paper MACs cut, at which loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autogate.policy import DENSE, Gate, Policy

from .row import Options, Results, Row, at_maps, macs_cut
from .workbench import Run

# Channel and column ratios per stage, as recalled from the paper.
PAPER = {
    "resnet56": ((0.3, 0.6), (0.3, 0.6), (0.6, 0.6)),
    "resnet20": ((0.3, 0.6), (0.3, 0.6), (0.6, 0.6)),
    "vgg16_bn_cifar": ((0.2, 0.0), (0.2, 0.0), (0.6, 0.0), (0.9, 0.0), (0.9, 0.0)),
}


def ratios_file(network: str) -> Path:
    """Return where ratios lie that were chosen by sensitivity curves, as the paper chooses its own."""
    return Path(__file__).parents[1] / "results" / "families" / f"antidote-{network}-ratios.json"


def runs(options: Options, results: Results) -> list[Run]:
    """Dense and gated fine-tuning, from equal weights."""
    start: Any = options.trained
    if start is None:
        start = Run("base", options.network, DENSE, options.recipe(lr=0.1))
    recipe = options.recipe(lr=0.02)
    found = []
    for seed in options.seeds:
        found.append(options.dense(recipe, start, seed))
        for name, policy in _policies(options.network).items():
            if options.wants(name):
                found.append(Run(f"{name}, seed {seed}", options.network, policy, recipe, seed, start))
    return [start, *found] if isinstance(start, Run) else found


def _policies(network: str) -> dict[str, Policy]:
    def of_stage(site: str, stage: int) -> Gate:
        channels, columns = PAPER[network][stage]
        return Gate("antidote", {"channel_ratio": channels, "column_ratio": columns})

    found = {"paper": Policy(at_maps(network, of_stage).gates, {"ascent.antidote": 0.5})}
    if (file := ratios_file(network)).exists():
        ratios = json.loads(file.read_text(encoding="utf-8"))["ratios"]
        gates = {site: Gate("antidote", genes) for site, genes in ratios.items() if any(genes.values())}
        found["curves"] = Policy(gates, {"ascent.antidote": 0.3})
    return found


ROW = Row(
    ("resnet56", "vgg16_bn_cifar", "resnet20"),
    10,
    "CIFAR-10: 37.4 to 54.5 % fewer FLOPs with negligible drop (abstract); ResNet-56 the least, VGG-16 53.5 %",
    runs,
    macs_cut,
)
