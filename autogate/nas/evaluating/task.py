"""What is searched on: a network with its weights and sites, the data, and the devices."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from autogate.data import ImageData, from_datasets, load_data
from autogate.errors import DataError, ModelError, TrainingError
from autogate.goals import SearchConfig
from autogate.latency.hardware import resolve_device
from autogate.models import LoadedModel, default_input_size, head_classes, list_models, load_model, state_sha256
from autogate.nas.evaluating.checkpointer import StoreCheckpointer
from autogate.policy import digest
from autogate.records import Preprocessing
from autogate.sites import Network, find_sites, layer_text, module_of
from autogate.studies import Reporter, StudyRun
from autogate.surgery import check_dense, pack, unpack
from autogate.system import one_line
from autogate.training import Checkpointer, TrainingBackend, base_recipe, full_recipe

# Processes that decode images which do not fit into memory.
_MOST_WORKERS = 8

OwnData = ImageData | tuple[Any, ...]
"""Loaded data, or datasets or loaders: (train, test) or (train, val, test)."""


@dataclass
class Task:
    """A network that was trained dense, and the data it is judged on.

    Attributes:
        network: The traced network; its model holds the dense weights.
        data: The dataset.
        preprocessing: How an image becomes an input.
        target: The device that is profiled and measured.
        trainer: The device that trains.
        model: The network's name.
        seed: Seed of the split.
    """

    network: Network
    data: ImageData
    preprocessing: Preprocessing
    target: torch.device
    trainer: torch.device
    model: str
    seed: int

    @property
    def digest(self) -> str:
        """Identity of network, weights, data and split; part of every evaluation key."""
        return digest(
            {
                "model": self.model,
                "network": network_signature(self.network),
                "classes": self.data.num_classes,
                "weights": state_sha256(self.network.model.state_dict()),
                "data": self.data.fingerprint,
                "seed": self.seed,
                "preprocessing": self.preprocessing.to_json(),
            }
        )


def network_signature(network: Network) -> str:
    """Return the identity of a network's computation: its layers, how they are joined, and all shapes."""
    lines = []
    for node in network.graph.nodes:
        module = module_of(node, network.model)
        what = str(node.target) if module is None else layer_text(module)
        if node.op == "call_function":
            what = getattr(node.target, "__name__", type(node.target).__name__)
        lines.append([node.name, what, [n.name for n in node.all_input_nodes], list(node.meta.get("shape", ()))])
    return digest(lines)


def load_task(
    config: SearchConfig, reporter: Reporter, model: nn.Module | None = None, data: OwnData | None = None
) -> Task:
    """Load network, weights if there are any, and data, and find the sites.

    Args:
        config: The search's configuration.
        reporter: Receives progress.
        model: The network itself, if it was not given by name.
        data: The data itself, if it was not given by name.

    Raises:
        AutoGateError: If anything the user named cannot be had or does not fit.
    """
    target = resolve_device(config.device)
    trainer = resolve_device(config.train_device or str(target))
    with reporter.stage("load"):
        module, images = load_model_and_data(config, model, data)
        if config.weights is None and not (images.is_small or config.train_dense):
            raise TrainingError(
                f"{config.model} has no weights and {images.name} is large; give --weights, or --train-dense to train "
                "it first"
            )
        network = traced_network(module, images.preprocessing)
    return Task(network, images, images.preprocessing, target, trainer, config.model, config.seed)


def train_base(run: StudyRun, task: Task, backend: TrainingBackend) -> None:
    """Train a base network that came without weights or with a new head, or load what an earlier run trained.

    Args:
        run: The study, in which the trained weights are kept.
        task: Network and data; the network's weights are set in place.
        backend: How to train.
    """
    config, store, model = run.config, run.store, task.network.model
    if config.weights is not None and not config.new_head:
        return
    if run.facts.dense_artifact is not None:
        unpack(store.artifact(run.facts.dense_artifact), model, {})
        return
    checkpointer = StoreCheckpointer(store, run.name, digest(["base", run.name]))
    fit_base(config, task, backend, run.reporter, checkpointer)
    artifact = store.add_artifact("dense", pack(model, {}))
    run.update(lambda facts: replace(facts, dense_artifact=artifact))
    checkpointer.end()


def fit_base(
    config: SearchConfig,
    task: Task,
    backend: TrainingBackend,
    reporter: Reporter,
    checkpointer: Checkpointer | None = None,
) -> None:
    """Train the base network in place; ``checkpointer`` keeps the state of an interrupted training."""
    images = len(task.data.train)
    # A fresh head on given weights needs no more than a fine-tuning.
    recipe = base_recipe(images, None, config.lr) if config.weights is None else full_recipe(images, None, config.lr)
    model = task.network.model
    with reporter.stage("train dense"):
        backend.train(
            model,
            task.data.train,
            recipe,
            "base",
            seed=config.seed,
            device=task.trainer,
            progress=reporter.progress,
            checkpointer=checkpointer,
        )
        model.eval()


def load_model_and_data(
    config: SearchConfig, model: nn.Module | None = None, data: OwnData | None = None
) -> tuple[nn.Module, ImageData]:
    """Return network and data that agree on classes and preprocessing.

    Args:
        config: The search's configuration.
        model: The caller's module, which is copied; None to load the configured network.
        data: The caller's data, taken as they are; None to load the configured ones.

    Raises:
        ModelError: If the module cannot be copied, or has fewer outputs than there are classes.
        AutoGateError: If anything the user named cannot be had.
    """
    loaded = None
    if model is None:
        loaded = load_model(config.model, weights=config.weights, new_head=config.new_head, seed=config.seed)
    images = _data(config, data, _preprocessing(config, loaded))
    if loaded is not None and (loaded.num_classes != images.num_classes or config.new_head):
        loaded = load_model(
            config.model,
            num_classes=images.num_classes,
            weights=config.weights,
            new_head=config.new_head,
            seed=config.seed,
        )
    module = _copied(model) if loaded is None else loaded.module
    outputs = head_classes(module, images.preprocessing.input_size)
    if outputs is not None and outputs < images.num_classes:
        raise ModelError(f"the network has {outputs} outputs, but {images.name} has {images.num_classes} classes")
    return module, images


def _copied(model: nn.Module | None) -> nn.Module:
    """Return a copy of a caller's module, which itself is neither moved to a device nor trained."""
    assert model is not None  # noqa: S101 - it was given, or else was loaded
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied: {one_line(error)}; remove what cannot, such as tensors that "
            "were computed with gradients, or name a function that builds it"
        ) from None


def traced_network(module: nn.Module, preprocessing: Preprocessing) -> Network:
    """Trace a network at the data's input size, and check that it can be rebuilt."""
    return check_dense(find_sites(module, (3, preprocessing.input_size, preprocessing.input_size)))


def _data(config: SearchConfig, own: OwnData | None, preprocessing: Preprocessing | None) -> ImageData:
    if own is None:
        return load_data(
            config.data,
            preprocessing=preprocessing,
            seed=config.seed,
            memory_limit_bytes=config.memory_limit_bytes,
            download=config.download,
            workers=min(_MOST_WORKERS, (os.cpu_count() or 1) - 1),
        )
    if isinstance(own, ImageData):
        return own
    if not isinstance(own, tuple) or len(own) not in (2, 3):
        raise DataError(f"data must be a name, a directory, (train, test) or (train, val, test), not {own!r:.60}")
    return from_datasets(
        own[0],
        own[-1],
        val=own[1] if len(own) == 3 else None,
        preprocessing=preprocessing,
        seed=config.seed,
        memory_limit_bytes=config.memory_limit_bytes,
    )


def _preprocessing(config: SearchConfig, loaded: LoadedModel | None) -> Preprocessing | None:
    """Flags first, then the weights' metadata, then the network's usual size; None lets the data choose.

    A network of the user's own has no usual size.
    """
    known = None if loaded is None else loaded.preprocessing
    if known is None and loaded is not None and not _is_own(config.model) and config.model not in list_models():
        known = Preprocessing(default_input_size(config.model))
    if config.input_size is None and config.mean is None and config.std is None:
        return known
    size = config.input_size or (known.input_size if known is not None else None)
    if size is None and (loaded is None or _is_own(config.model)):
        raise DataError(f"{config.model} has no usual input size; give --input-size with --mean and --std")
    known = known or Preprocessing(size or default_input_size(config.model))
    return Preprocessing(size or known.input_size, config.mean or known.mean, config.std or known.std)


def _is_own(model: str) -> bool:
    return ":" in model and not model.startswith("timm:")
