"""The weights that all candidates start from: trained once per study, and loaded by every process that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import safetensors.torch
import torch

from autogate.errors import TrainingError
from autogate.gates import TrainingGate, get_family
from autogate.goals import SearchConfig
from autogate.nas.evaluating.checkpointer import StoreCheckpointer
from autogate.nas.evaluating.deployment import Deployment
from autogate.nas.evaluating.task import Task
from autogate.nas.evaluating.training_evaluator import TrainingEvaluator
from autogate.policy import Gate, Policy, digest
from autogate.records import StudyFacts
from autogate.space.bound import BoundSpace
from autogate.studies import StudyRun
from autogate.surgery import pack, unpack
from autogate.system import freed_memory_kept
from autogate.training import (
    Fidelity,
    Recipe,
    SharedGates,
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
    config: SearchConfig, facts: StudyFacts, task: Task, backend: TrainingBackend, space: BoundSpace, content: bytes
) -> TrainingEvaluator:
    """Return what trains and scores the candidates of a study, from its stored shared weights.

    Args:
        config: The study's configuration.
        facts: The study's facts, which name the task and the shared weights.
        task: Network with its dense weights, and data.
        backend: How to train and score.
        space: Gates of the study; those that have weights are loaded if they were trained.
        content: The shared weights.
    """
    assert facts.task is not None  # noqa: S101 - the shared weights were trained for a task
    assert facts.shared_artifact is not None  # noqa: S101 - the content is there
    network = clone(task.network)
    bank = make_bank(network, space.restricted(has_weights_in(content)), config.seed)
    unpack(content, network.model, bank_paths(bank))
    for gate in bank.values():
        gate.to(task.trainer)
    images, bfloat16 = len(task.data.train), facts.train_dtype == "bfloat16"
    recipes: dict[Fidelity, Recipe] = {
        "short": short_recipe(images, config.lr, config.trial_epochs, bfloat16=bfloat16),
        "full": full_recipe(images, config.epochs, config.lr, bfloat16=bfloat16),
    }
    deployment = None
    if config.score_quantized:
        deployment = Deployment(config.runtime, config.dtype, torch.get_num_threads(), config.batch_size)
    return TrainingEvaluator(
        task, facts.task.digest, network, bank, facts.shared_artifact, config.seed, backend, recipes, deployment
    )


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
    run: StudyRun, task: Task, backend: TrainingBackend, space: BoundSpace, fastest: Policy
) -> bytes:
    """Return the study's shared weights: stored by an earlier run, or trained now and stored.

    A caller's own training knows nothing of sharing: then every candidate starts from the dense weights.

    Args:
        run: The study.
        task: Network with its dense weights, and data.
        backend: How to train.
        space: Gates of the study.
        fastest: The fastest policy of the space, which is trained more often than others.

    Raises:
        TrainingError: If the training goes wrong.
    """
    config, store = run.config, run.store
    if run.facts.shared_artifact is not None:
        return store.artifact(run.facts.shared_artifact)
    network = clone(task.network)
    bank = make_bank(network, space, config.seed)
    checkpointer = StoreCheckpointer(store, run.name, digest(["shared", run.name]))
    if backend.train_fn is None:
        recipe = shared_recipe(len(task.data.train), config.lr, bfloat16=run.facts.train_dtype == "bfloat16")
        with run.reporter.stage("train shared weights"), freed_memory_kept():
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
                    progress=run.reporter.progress,
                    checkpointer=checkpointer,
                    output=backend.output,
                    threads=backend.threads,
                )
            except TrainingError as error:
                raise TrainingError(f"training the shared weights: {error}, in a new --study") from None
            recalibrate(network.model, task.data.train, seed=config.seed, device=task.trainer)
    content = pack(network.model, bank_paths(bank))
    artifact = store.add_artifact("shared", content)
    run.update(lambda facts: replace(facts, shared_artifact=artifact))
    checkpointer.end()
    return content


def bank_paths(bank: SharedGates) -> dict[str, TrainingGate]:
    """Return the shared gates under one name each."""
    return {bank_path(site, gate): module for (site, gate), module in bank.items()}


def bank_path(site: str, gate: Gate) -> str:
    """Return the name under which the weights of a gate at a site are stored."""
    return f"{site}={gate}"
