"""Dynamic Channel Execution: widths learnt in training, beside the same widths trained as they are."""

from __future__ import annotations

from typing import Any

from autogate.policy import Gate

from .row import Options, Results, Row, at_maps, points_lost
from .workbench import Run

KEPT = (0.75, 0.5, 1 / 3)


def runs(options: Options, results: Results) -> list[Run]:
    """Dense, dynamic and static training from random weights."""
    recipe = options.recipe(lr=0.1)
    found = []
    for seed in options.seeds:
        found.append(options.dense(recipe, None, seed))
        for kept in KEPT:
            for name, family in (("dce", "dce"), ("static", "magnitude")):
                gate = Gate(family, {"ratio": 1 - kept})
                policy = at_maps(options.network, lambda site, stage, gate=gate: gate)
                found.append(Run(f"{name} {kept:.2f}, seed {seed}", options.network, policy, recipe, seed))
    return found


def figures(options: Options, results: Results) -> dict[str, Any]:
    """Points lost at each width, and what is left of MACs and parameters."""
    dense = results[f"dense, seed {options.seeds[0]}"]
    return {
        name: {
            "points_lost": points_lost(results, f"dense, seed {row['seed']}", name),
            "macs_ratio": round(row["realisable_macs_ratio"], 4),
            "parameters_ratio": round(row["parameters"] / dense["parameters"], 4),
        }
        for name, row in results.items()
        if not name.startswith("dense")
    }


ROW = Row(
    ("vgg16_bn_cifar", "resnet20"), 20,
    "up to 4x less computation and up to 9x fewer parameters on VGG, ResNet and DenseNet (abstract)",
    runs, figures,
)  # fmt: skip
