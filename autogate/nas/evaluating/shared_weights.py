"""The weights that all candidates start from: trained once per study, and loaded by every process that trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import safetensors.torch

from autogate.errors import TrainingError
from autogate.gates import get_family
from autogate.goals import SearchConfig
from autogate.nas.evaluating.checkpointer import StoreCheckpointer
from autogate.nas.evaluating.task import Task
from autogate.nas.evaluating.training_evaluator import TrainingEvaluator
from autogate.nas.evaluating.weights import bank_path, bank_paths, pack, unpack
from autogate.policy import Gate, Policy, digest
from autogate.space.bound import BoundSpace
from autogate.store import Store
from autogate.studies import Reporter
from autogate.training import (
    TrainingBackend,
    clone,
    full_recipe,
    make_bank,
    recalibrate,
    shared_recipe,
    short_recipe,
    train_shared,
)


def make_evaluator(
    config: SearchConfig,
    task: Task,
    methods: TrainingBackend,
    space: BoundSpace,
    content: bytes,
    artifact: str,
    name: str,
) -> TrainingEvaluator:
    """Return what trains and scores the candidates of a study, from its stored shared weights.

    Args:
        config: The study's configuration.
        task: Network with its dense weights, and data.
        methods: How to train and score.
        space: Gates of the study; those that have weights are loaded if they were trained.
        content: The shared weights.
        artifact: Their identity.
        name: Identity of the task, as the study knows it.
    """
    network = clone(task.network)
    bank = make_bank(network, space.restricted(has_weights_in(content)), config.seed)
    unpack(content, network.model, bank_paths(bank))
    for gate in bank.values():
        gate.to(task.trainer)
    images = len(task.data.train)
    recipes = {
        "short": short_recipe(images, config.lr, config.trial_epochs),
        "full": full_recipe(images, config.epochs, config.lr),
    }
    return TrainingEvaluator(task, name, network, bank, artifact, config.seed, methods, recipes)  # type: ignore[arg-type]


def has_weights_in(content: bytes) -> Callable[[str, Gate], bool]:
    """Return whether the shared weights hold what a gate at a site needs; one without weights needs nothing."""
    names = safetensors.torch.load(content).keys()
    known = {name.removeprefix("gate.").rsplit(".", 1)[0] for name in names if name.startswith("gate.")}

    def has(site: str, gate: Gate) -> bool:
        prefix = bank_path(site, gate)
        return not get_family(gate.family).has_weights or any(
            name == prefix or name.startswith(f"{prefix}.") for name in known
        )

    return has


def train_shared_weights(
    config: SearchConfig,
    task: Task,
    methods: TrainingBackend,
    space: BoundSpace,
    fastest: Policy,
    store: Store,
    study: str,
    facts: dict[str, Any],
    reporter: Reporter,
) -> bytes:
    """Return the study's shared weights: stored by an earlier run, or trained now; ``facts`` hear of them.

    A caller's own training knows nothing of sharing: then every candidate starts from the dense weights.
    """
    if "shared_artifact" in facts:
        return store.artifact(facts["shared_artifact"])
    network = clone(task.network)
    bank = make_bank(network, space, config.seed)
    checkpointer = StoreCheckpointer(store, study, digest(["shared", study]))
    if methods.train_fn is None:
        recipe = shared_recipe(len(task.data.train), config.lr)
        with reporter.stage("train shared weights"):
            try:
                train_shared(
                    network,
                    space,
                    bank,
                    task.data.train,
                    recipe,
                    fastest=fastest,
                    seed=config.seed,
                    device=task.trainer,
                    progress=reporter.progress,
                    checkpointer=checkpointer,
                )
            except TrainingError as error:
                raise TrainingError(f"training the shared weights: {error}, in a new --study") from None
            recalibrate(network.model, task.data.train, seed=config.seed, device=task.trainer)
    content = pack(network.model, bank_paths(bank))
    facts["shared_artifact"] = store.add_artifact("shared", content)
    store.set_facts(study, facts)
    checkpointer.end()
    return content
