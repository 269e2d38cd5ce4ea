"""AntiDote on ResNet-56 and VGG-16: paper MACs cut, at which loss."""

from __future__ import annotations

from typing import Any

from autogate.policy import DENSE, Gate, Policy

from .row import Options, Results, Row, at_maps, macs_cut
from .workbench import Run

# Channel and column ratios per stage, as recalled from the paper.
RATIOS = {
    "resnet56": {"paper": ((0.3, 0.6), (0.3, 0.6), (0.6, 0.6))},
    "resnet20": {"paper": ((0.3, 0.6), (0.3, 0.6), (0.6, 0.6))},
    "vgg16_bn_cifar": {"paper": ((0.2, 0.0), (0.2, 0.0), (0.6, 0.0), (0.9, 0.0), (0.9, 0.0))},
}


def runs(options: Options, results: Results) -> list[Run]:
    """Dense and gated fine-tuning, from equal weights."""
    start: Any = options.trained
    if start is None:
        start = Run("base", options.network, DENSE, options.recipe(lr=0.1))
    recipe = options.recipe(lr=0.02)
    found = []
    for seed in options.seeds:
        found.append(options.dense(recipe, start, seed))
        for name, ratios in RATIOS[options.network].items():

            def gate(site: str, stage: int, ratios: Any = ratios) -> Gate:
                channels, columns = ratios[stage]
                return Gate("antidote", {"channel_ratio": channels, "column_ratio": columns})

            policy = Policy(at_maps(options.network, gate).gates, {"ascent.antidote": 0.5})
            found.append(Run(f"{name}, seed {seed}", options.network, policy, recipe, seed, start))
    return [start, *found] if isinstance(start, Run) else found


ROW = Row(
    ("resnet56", "vgg16_bn_cifar", "resnet20"), 10,
    "CIFAR-10: 37.4 to 54.5 % fewer FLOPs with negligible drop (abstract); ResNet-56 the least, VGG-16 53.5 %",
    runs, macs_cut,
)  # fmt: skip
