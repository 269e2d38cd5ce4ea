"""Which team a configuration asks for, and whether it can be had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from autogate.errors import DeviceError, StudyError
from autogate.search.config import SearchConfig
from autogate.search.judge import Judge
from autogate.search.reporter import Reporter
from autogate.search.task import Task
from autogate.search.teams.processes import ProcessTeam
from autogate.search.teams.solo import SoloTeam
from autogate.search.teams.team import Team, free_what_the_dead_hold
from autogate.store import Store

if TYPE_CHECKING:
    from autogate.training import Methods


def check_team(config: SearchConfig, store: Store, task: Task, methods: Methods) -> None:
    """Refuse a team that cannot be had, before anything is trained.

    Raises:
        StudyError: If others are to train what only this process has.
        DeviceError: If there are fewer GPUs than workers.
    """
    if not _has_others(config):
        return
    brought = {"model": config.model.startswith("python:"), "data": config.data == "python"}
    brought |= {name.split()[0]: True for name in methods.names[1:]}
    if own := [name for name, there in brought.items() if there]:
        raise StudyError(
            f"{' and '.join(own)} came from Python, and other processes cannot have them; use --workers 1, or name "
            "them as package.module:factory"
        )
    if config.backend == "ray":
        from autogate.search.teams.ray_cluster import check_ray

        check_ray(store)
    elif task.trainer.type == "cuda" and config.workers > torch.cuda.device_count():
        raise DeviceError(
            f"{config.workers} workers need a GPU each, and there are {torch.cuda.device_count()}; use --workers "
            f"{torch.cuda.device_count()}"
        )


def team_for(config: SearchConfig, store: Store, study: str, judge: Judge, task: Task, reporter: Reporter) -> Team:
    """Return the team that trains for a study; what dead members of an earlier one held is free."""
    free_what_the_dead_hold(store, study)
    store.forget_workers(study)
    store.begin_anew(study)
    if config.backend == "ray":
        from autogate.search.teams.ray_tune import RayTeam

        return RayTeam(store, study, config, task.trainer, reporter)
    if not _has_others(config):
        return SoloTeam(store, study, judge, str(task.trainer), reporter)
    on_gpu = task.trainer.type == "cuda"
    threads = config.threads if config.threads is not None and not on_gpu else os.cpu_count() or 1
    return ProcessTeam(store, study, config.workers, _gpus() if on_gpu else [], threads, reporter)


def _has_others(config: SearchConfig) -> bool:
    return config.backend == "ray" or config.workers != 1


def _gpus() -> list[str]:
    """Return the names that CUDA has for the GPUs this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return seen.split(",") if seen else [str(i) for i in range(torch.cuda.device_count())]
