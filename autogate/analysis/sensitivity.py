"""How much accuracy a trained network loses by gates at one place alone, the harder they prune; no training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from autogate.errors import AutoGateError, PolicyError
from autogate.gates import Family, get_family
from autogate.goals import SearchConfig
from autogate.nas.evaluating import CallerInputs, Task, about_given_weights, choose_train_dtype, fit_base, load_task
from autogate.policy import Gate, Policy
from autogate.studies import Reporter
from autogate.surgery import attach_gates, canonical, training_form
from autogate.training import TrainingBackend, TrainingThreads, base_recipe, score

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Shares to leave out, unless others are asked for."""


@dataclass(frozen=True)
class Curve:
    """Accuracies of a network with gates at one place.

    Attributes:
        site: Where: a site, or ``KIND:STAGE`` for all sites of a stage.
        ratio: The gene that is varied, a share that is left out; None where the family has none.
        values: Its values.
        accuracies: Accuracy at each value, as a fraction; one without values where nothing is varied.
    """

    site: str
    ratio: str | None
    values: tuple[float, ...]
    accuracies: tuple[float, ...]


def sensitivity_document(
    config: SearchConfig,
    own: CallerInputs,
    family: str,
    tie: Literal["site", "stage"],
    values: Sequence[float] | None,
    images: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """Return dense accuracy and curves as JSON-ready data; a network without weights is trained first.

    Args:
        config: Network, weights, data and device.
        own: What the caller brings instead of naming it.
        family: Name of the gate family.
        tie: Whether each site is judged on its own, or all sites of a stage together.
        values: Shares to leave out; None for a fixed few.
        images: Validation images to judge on.
        reporter: Receives progress.

    Raises:
        PolicyError: If gates of the family must be trained before they mean anything, or it fits no site.
        AutoGateError: If anything asked for is unknown, out of range or does not fit.
    """
    if values is not None and not values:
        raise AutoGateError("no share to leave out is named; give values such as 0.1, 0.3, 0.5")
    if images < 1:
        raise AutoGateError(f"images must be at least 1, not {images}")
    chosen = get_family(family)
    task = load_task(config, reporter, own.model, own.data)
    if tie not in ("site", "stage"):
        raise AutoGateError(f"tie must be site or stage, not {tie!r}")
    policies = _policies(task, chosen, tie, SHARES if values is None else tuple(values))
    curves = []
    with TrainingThreads(config.train_threads) as threads:
        if config.weights is None:
            images_seen = base_recipe(len(task.data.train), None, None).images
            train_dtype = choose_train_dtype(config, task, images_seen, reporter)
            backend = TrainingBackend(output=task.score_output, threads=threads)
            fit_base(config, task, backend, reporter, bfloat16=train_dtype == "bfloat16")
        with reporter.stage("sensitivity"):
            dense = _accuracy(task, task.network.model, images)
            for note in about_given_weights(config, task.data, dense):
                reporter.note(note)
            for i, ((place, ratio), by_value) in enumerate(policies.items()):
                accuracies = tuple(_with_gates(task, gates, images) for gates in by_value.values())
                curves.append(Curve(place, ratio, tuple(by_value) if ratio else (), accuracies))
                reporter.progress((i + 1) / len(policies), place)
    return {
        "schema": "autogate.sensitivity/1",
        "model": task.model,
        "family": family,
        "images": min(images, len(task.data.val)),
        "dense_accuracy": dense,
        "curves": [asdict(curve) for curve in curves],
    }


def _policies(
    task: Task, family: Family, tie: str, values: tuple[float, ...]
) -> dict[tuple[str, str | None], dict[float, dict[str, Gate]]]:
    """Return the gates to try, by place, ratio and its value; one value where the family has no ratio."""
    if family.has_weights:
        raise PolicyError(
            f"gates of {family.name} have weights of their own, which must be trained first; sensitivity curves need "
            "a family without, such as antidote, magnitude or drop"
        )
    if family.sensitivity_stand_in is not None:
        raise PolicyError(
            f"gates of {family.name} find their channels in training; sensitivity curves of "
            f"{family.sensitivity_stand_in} show what "
            "such slices cost without"
        )
    policies: dict[tuple[str, str | None], dict[float, dict[str, Gate]]] = {}
    for site in task.network.sites.values():
        if not family.fits(site):
            continue
        place = site.name if tie == "site" else f"{site.kind}:{site.stage}"
        ratios = [gene.name for gene in family.genes(site.kind) if gene.prunes]
        for ratio, value in itertools.product(ratios, values) if ratios else [(None, 1.0)]:
            gate = family.complete(site, Gate(family.name, {} if ratio is None else {ratio: value}))
            policies.setdefault((place, ratio), {}).setdefault(value, {})[site.name] = gate
    if not policies:
        raise PolicyError(f"{family.name} fits no site of {task.model}; `autogate sites` lists them")
    return policies


def _with_gates(task: Task, gates: dict[str, Gate], images: int) -> float:
    policy = canonical(Policy(gates), task.network.sites)
    return _accuracy(task, training_form(task.network, attach_gates(task.network, policy)), images)


def _accuracy(task: Task, network: nn.Module, images: int) -> float:
    with torch.inference_mode():
        return score(network, task.data.val, device=task.trainer, limit=images, output=task.score_output)[0]
