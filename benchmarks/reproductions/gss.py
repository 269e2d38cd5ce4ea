"""Guided Structured Sparsity against plain group lasso (SSL), both tuned with the same number of trials."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

from autogate.policy import Gate, Policy

from .row import Options, Results, Row, at_maps, points_lost
from .workbench import Run

SPARSITIES = (0.9, 0.5, 0.7, 0.8, 0.6)
TRIAL_SHARE = 3
METHODS = ("ssl", "gss")


def runs(options: Options, results: Results) -> list[Run]:
    """Shorter trials, judged on validation images; then the best setting of each, judged on test images."""
    start = options.trained
    recipe = options.recipe(lr=0.02)
    short = replace(recipe, images=recipe.images // TRIAL_SHARE)
    found = [options.dense(recipe, start, seed) for seed in options.seeds]
    for sparsity in filter(options.wants, SPARSITIES):
        for method in METHODS:
            trials = {}
            for trial in range(options.trials):
                policy = _policy(options, sparsity, _knobs(method, trial))
                name = f"{method} {sparsity}, trial {trial}"
                trials[name] = Run(name, options.network, policy, short, 0, start, score_on="val")
            found += trials.values()
            if all(name in results for name in trials):
                best = trials[max(trials, key=lambda name: results[name]["accuracy"])].policy
                for seed in options.seeds:
                    name = f"{method} {sparsity}, seed {seed}"
                    found.append(Run(name, options.network, best, recipe, seed + 1, start))
    return found


def _knobs(method: str, trial: int) -> dict[str, Any]:
    """Draw the setting of a trial; SSL and GSS draw the same strengths of the group lasso."""
    rng = random.Random(trial)
    knobs: dict[str, Any] = {
        "group_lasso": _log_uniform(rng, 1e-3, 1e-1),
        "norms": rng.choice(("weights", "folded")),
        "variance": 0.0,
    }
    if method == "gss":
        knobs |= {"variance": _log_uniform(rng, 1e-4, 1e-1), "variance_form": rng.choice(("inverse", "scale_free"))}
    return {f"{name}.gss": value for name, value in knobs.items()}


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))), 6)


def _policy(options: Options, sparsity: float, knobs: dict[str, Any]) -> Policy:
    return Policy(at_maps(options.network, lambda site, stage: Gate("gss", {"ratio": sparsity})).gates, knobs)


def figures(options: Options, results: Results) -> dict[str, Any]:
    """Points lost by each method at each sparsity that is done, and their ratio."""
    found: dict[str, Any] = {}
    for sparsity in filter(options.wants, SPARSITIES):
        names = [
            f"{what}, seed {seed}"
            for seed in options.seeds
            for what in ("dense", *(f"{m} {sparsity}" for m in METHODS))
        ]
        if any(name not in results for name in names):
            continue
        lost = {
            method: [
                points_lost(results, f"dense, seed {seed}", f"{method} {sparsity}, seed {seed}")
                for seed in options.seeds
            ]
            for method in METHODS
        }
        means = {method: sum(values) / len(values) for method, values in lost.items()}
        ratio = round(means["ssl"] / means["gss"], 2) if means["gss"] > 0 else None
        found[str(sparsity)] = {"points_lost": lost, "ssl_over_gss": ratio}
    return found


ROW = Row(
    ("resnet20",),
    6,
    "drop at 50/60/70/80/90 % sparsity: SSL .11/.15/.38/.90/1.61, GSS .25/.23/.44/.51/.62; 2.6 times less at 90 %",
    runs,
    figures,
)
