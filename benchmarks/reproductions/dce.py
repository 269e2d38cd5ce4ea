"""Dynamic Channel Execution: widths learnt in training, beside the same widths trained as they are."""

from __future__ import annotations

from autogate.policy import Gate

from .row import Options, Results, Row, at_maps, saved
from .workbench import Run

KEPT = (0.75, 0.5, 1 / 3)
# Shares of the channels that stay in each stage of VGG; late stages hold the parameters, early ones do the work.
VGG_KEPT = {"4x fewer MACs": (0.5, 0.5, 0.5, 0.5, 0.45), "9x fewer parameters": (0.75, 0.75, 0.6, 0.35, 0.23)}


def runs(options: Options, results: Results) -> list[Run]:
    """Dense, dynamic and static training from random weights; on VGG, whose aim is a factor, no static one."""
    recipe = options.recipe(lr=0.1)
    found = []
    for seed in options.seeds:
        found.append(options.dense(recipe, None, seed))
        if options.network == "vgg16_bn_cifar":
            for aim, shares in VGG_KEPT.items():
                policy = at_maps(
                    options.network,
                    lambda site, stage, shares=shares: Gate("dce", {"ratio": round(1 - shares[stage], 2)}),
                    groups=True,
                )
                if options.wants(aim.partition(" ")[0]):
                    found.append(Run(f"dce {aim}, seed {seed}", options.network, policy, recipe, seed))
            continue
        for kept in filter(lambda kept: options.wants(f"{kept:.2f}"), KEPT):
            for name, family in (("dce", "dce"), ("static", "magnitude")):
                gate = Gate(family, {"ratio": 1 - kept})
                policy = at_maps(options.network, lambda site, stage, gate=gate: gate)
                found.append(Run(f"{name} {kept:.2f}, seed {seed}", options.network, policy, recipe, seed))
    return found


ROW = Row(
    ("vgg16_bn_cifar", "resnet20"),
    20,
    "up to 4x less computation and up to 9x fewer parameters on VGG, ResNet and DenseNet (abstract)",
    runs,
    saved,
)
