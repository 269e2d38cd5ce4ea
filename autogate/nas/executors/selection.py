"""Which team a configuration asks for, and whether it can be had."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import torch

from autogate.errors import DeviceError, StudyError
from autogate.goals import SearchConfig
from autogate.nas.evaluating import Evaluator
from autogate.nas.executors.executor import Executor, release_dead_workers
from autogate.nas.executors.inline import InlineExecutor
from autogate.nas.executors.processes import ProcessExecutor
from autogate.nas.executors.ray_address import check_address
from autogate.store import Store
from autogate.studies import Reporter

if TYPE_CHECKING:
    from autogate.training import TrainingBackend, TrainingThreads


def check_executor(config: SearchConfig, trainer: torch.device, backend: TrainingBackend) -> None:
    """Refuse a team that cannot be had, before anything is trained.

    Raises:
        StudyError: If others are to train what only this process has.
        DeviceError: If there are fewer GPUs than workers.
        StorageError: If there is no cluster.
    """
    if not config.has_team:
        return
    brought = config.brought | {name.split()[0]: True for name in backend.names[1:]}
    if own := [name for name, there in brought.items() if there]:
        raise StudyError(
            f"{' and '.join(own)} came from Python, and other processes cannot have them; use --workers 1, or name "
            "them as package.module:factory"
        )
    if config.backend == "ray":
        check_ray()
        check_address(config.ray_address)
    elif trainer.type == "cuda" and (config.workers or 1) > (gpus := torch.cuda.device_count()):
        raise DeviceError(f"{config.workers} workers need a GPU each, and there are {gpus}; use --workers {gpus}")


def make_executor(
    config: SearchConfig,
    store: Store,
    study: str,
    evaluator: Evaluator,
    trainer: torch.device,
    reporter: Reporter,
    threads: TrainingThreads | None = None,
) -> Executor:
    """Return the team that trains for a study; what dead members of an earlier one held is free.

    Args:
        config: The study's configuration.
        store: The study database.
        study: Name of the study.
        evaluator: Trains and scores where no team is asked for.
        trainer: Device that trains.
        reporter: Receives progress.
        threads: Knows how many CPU threads all local workers may use together; None for one each.
    """
    release_dead_workers(store, study)
    store.forget_workers(study)
    store.begin_anew(study)
    if config.backend == "ray":
        from autogate.nas.executors.ray_executor import RayExecutor

        return RayExecutor(store, study, config, trainer)
    if not config.has_team:
        return InlineExecutor(store, study, evaluator, str(trainer), reporter)
    on_gpu = trainer.type == "cuda"
    workers, in_all = config.workers or 0, 1 if threads is None else threads.free()
    return ProcessExecutor(store, study, workers, _gpus() if on_gpu else [], in_all, reporter)


def check_ray() -> None:
    """Refuse Ray where it is not installed.

    Raises:
        StudyError: If it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise StudyError("--backend ray needs Ray: pip install 'autogate[ray]'")


def _gpus() -> list[str]:
    """Return the names that CUDA has for the GPUs this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return seen.split(",") if seen else [str(i) for i in range(torch.cuda.device_count())]
