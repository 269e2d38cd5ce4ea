"""What a row of the table is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogate.policy import DENSE, Policy
from autogate.training import Recipe

from .workbench import Run

Results = Mapping[str, Mapping[str, Any]]
"""What is known of each run, by its name."""


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        network: The network to reproduce on; the weights of the CIFAR ResNets come from ``weights``.
        weights: Folder of weights files.
        train_images: Images in the training set.
        epochs: Epochs of each training.
        seeds: Seeds to train with.
        float32: Whether to train in float32, where bfloat16 is no faster.
        levels: Which of the row's levels to do (cuts, widths or sparsities, as its results name them); empty for all.
        trials: Settings tried by each method that is tuned, where the row tunes.
    """

    network: str
    weights: Path
    train_images: int
    epochs: float
    seeds: tuple[int, ...]
    float32: bool = False
    levels: tuple[str, ...] = ()
    trials: int = 4

    def recipe(self, lr: float) -> Recipe:
        """Return the recipe that all runs of the row share."""
        return Recipe(round(self.train_images * self.epochs), lr, bfloat16=not self.float32)

    def wants(self, level: object) -> bool:
        """Say whether a level of the row is to be done."""
        return not self.levels or str(level) in self.levels

    @property
    def trained(self) -> Path | None:
        """The file with weights of the network, if there is one."""
        file = self.weights / f"{self.network}-cifar10jpeg.safetensors"
        return file if file.exists() else None

    def dense(self, recipe: Recipe, start: Run | Path | None, seed: int) -> Run:
        """Return the dense run that the gated ones are compared with."""
        return Run(f"dense, seed {seed}", self.network, DENSE, recipe, seed, start)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        networks: Networks it can be reproduced on, the default first.
        epochs: Epochs unless told otherwise.
        published: What the paper reports.
        runs: Returns the trainings, given the options and what is known so far; asked again until all are done.
        figures: Returns what the row is to show.
    """

    networks: Sequence[str]
    epochs: int
    published: str
    runs: Callable[[Options, Results], list[Run]]
    figures: Callable[[Options, Results], dict[str, Any]]


def at_maps(network: str, gate_for: Callable[[str, int], Any], groups: bool = False) -> Policy:
    """Return a policy with ``gate_for(site, stage)`` at the inner maps of a CIFAR network; stages count from 0.

    ``groups``: also at its groups.
    """
    return Policy({site: gate_for(site, stage) for site, stage in inner_maps(network, groups)})


def inner_maps(network: str, groups: bool = False) -> list[tuple[str, int]]:
    """Return the inner maps of a CIFAR network, and its groups if asked for, each with its stage."""
    from autogate.models import load_model
    from autogate.sites import find_sites

    sites = find_sites(load_model(network).module, (3, 32, 32)).sites.values()
    return [
        (s.name, int(s.stage.removeprefix("stage")) - 1)
        for s in sites
        if (s.kind == "map" and s.has_producer) or (groups and s.kind == "group")
    ]


def saved(options: Options, results: Results) -> dict[str, Any]:
    """Return points lost, and what is left of MACs and parameters, of the gated runs whose dense one is done."""
    return {
        name: {
            "points_lost": points_lost(results, dense, name),
            "macs_ratio": round(row["realisable_macs_ratio"], 4),
            "parameters_ratio": round(row["parameters"] / results[dense]["parameters"], 4),
        }
        for name, row, dense in _beside_dense(results)
    }


def macs_cut(options: Options, results: Results) -> dict[str, Any]:
    """Return the cut in MACs, as the papers count them and as executed, and points lost, likewise."""
    return {
        name: {
            "macs_cut": round(1 - row["paper_macs_ratio"], 4),
            **({"realised_cut": round(1 - row["realisable_macs_ratio"], 4)} if "realisable_macs_ratio" in row else {}),
            "points_lost": points_lost(results, dense, name),
        }
        for name, row, dense in _beside_dense(results)
    }


def _beside_dense(results: Results) -> list[tuple[str, Mapping[str, Any], str]]:
    found = [(name, row, f"dense, seed {row['seed']}") for name, row in results.items()]
    return [one for one in found if one[2] in results and not one[0].startswith(("dense", "base"))]


def points_lost(results: Results, dense: str, gated: str) -> float:
    """Return by how many points the gated run is worse."""
    return round(100 * (float(results[dense]["accuracy"]) - float(results[gated]["accuracy"])), 2)
