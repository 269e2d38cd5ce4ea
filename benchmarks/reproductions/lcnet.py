"""LC-Net: points lost at 30 and 50 % fewer MACs, beside other layer gates trained with the same recipe."""

from __future__ import annotations

from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.sites import find_sites

from .other_gates import aig_gates, skipnet_gates
from .row import Options, Results, Row, macs_cut
from .workbench import Run

# By the cut aimed at: openings of blocks where only they are gated, and of blocks and channels where both are.
OPENINGS = {"30 %": (0.61, 0.85, 0.8), "50 %": (0.36, 0.7, 0.65)}


def runs(options: Options, results: Results) -> list[Run]:
    """Dense fine-tuning, and gates of four kinds at two targets."""
    recipe, start = options.recipe(lr=0.02), options.trained
    sites = find_sites(load_model(options.network).module, (3, 32, 32)).sites.values()
    blocks = [site.name for site in sites if site.kind == "block"]
    maps = [site.name for site in sites if site.kind == "map"]
    found = []
    for seed in options.seeds:
        found.append(options.dense(recipe, start, seed))
        for cut, (alone, layer, channel) in OPENINGS.items():
            if not options.wants(cut.removesuffix(" %")):
                continue
            layers = Policy(dict.fromkeys(blocks, Gate("lcnet", {"target": alone})))
            joint = Policy(
                {
                    **dict.fromkeys(blocks, Gate("lcnet", {"target": layer})),
                    **dict.fromkeys(maps, Gate("lcnet", {"target": channel})),
                }
            )
            for name, policy, gates in (
                ("lcnet joint", joint, None),
                ("SkipNet style", layers, skipnet_gates),
                ("ConvNet-AIG style", layers, aig_gates),
                ("lcnet layers", layers, None),
            ):
                found.append(
                    Run(f"{name} -{cut}, seed {seed}", options.network, policy, recipe, seed, start, gates=gates)
                )
    return found


ROW = Row(
    ("resnet56", "resnet20"),
    10,
    "CIFAR-10: up to 11.9x fewer FLOPs (abstract); SkipNet ResNet-38/74/110 -29.7/-47.7/-50.5 % at 92.75/92.77/93.30 %",
    runs,
    macs_cut,
)
