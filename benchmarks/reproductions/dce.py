"""Dynamic Channel Execution: widths learnt in training, beside the same widths trained as they are."""

from __future__ import annotations

from autogate.policy import Gate

from .row import Options, Results, Row, at_maps, saved
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


ROW = Row(
    ("vgg16_bn_cifar", "resnet20"), 20,
    "up to 4x less computation and up to 9x fewer parameters on VGG, ResNet and DenseNet (abstract)",
    runs, saved,
)  # fmt: skip
