"""``autogate resume``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import autogate
from autogate.api import TerminalReporter
from autogate.cli.options import (
    AllowStale,
    Backend,
    CpusPerTrial,
    EnergyBudget,
    Format,
    FormatOption,
    GpusPerTrial,
    MemoryBudget,
    RayAddress,
    Sampler,
    Stat,
    Storage,
    StudyName,
    Threads,
    Workers,
)
from autogate.cli.search import print_result
from autogate.units import parse_duration


def command(
    study: StudyName,
    trials: Annotated[int | None, typer.Option(help="Further proposals [default: finish those asked for].")] = None,
    trainings: Annotated[int | None, typer.Option(help="Most candidates to train, in all.")] = None,
    timeout: Annotated[str | None, typer.Option(help="No new trial starts after this, such as 30m or 2h.")] = None,
    latency_budget: Annotated[str | None, typer.Option(help="Another budget, such as 5ms or 60%.")] = None,
    max_drop: Annotated[str | None, typer.Option(help="Another largest drop, such as 0.5%.")] = None,
    memory_budget: MemoryBudget = None,
    energy_budget: EnergyBudget = None,
    device: Annotated[str | None, typer.Option(help="Another target: auto, cpu, cuda:0.")] = None,
    profile: Annotated[str | None, typer.Option(help="Another target, by its profile.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Other images per call on the target.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Another element type on the target.")] = None,
    layout: Annotated[str | None, typer.Option(help="Another memory layout on the target.")] = None,
    threads: Threads = None,
    runtime: Annotated[str | None, typer.Option(help="Another runtime on the target.")] = None,
    latency_stat: Annotated[Stat | None, typer.Option(help="Another statistic that the budget binds.")] = None,
    finalists: Annotated[int | None, typer.Option(help="Finalists to train fully and measure.")] = None,
    sampler: Sampler = None,
    workers: Workers = None,
    backend: Backend = None,
    ray_address: RayAddress = None,
    gpus_per_trial: GpusPerTrial = None,
    cpus_per_trial: CpusPerTrial = None,
    allow_stale: AllowStale = False,
    storage: Storage = None,
    output: FormatOption = Format.table,
) -> int:
    """Continue a study: after an interruption, with further trials, another budget, or for another device."""
    changes: dict[str, Any] = {
        "latency_budget": latency_budget,
        "max_drop": max_drop,
        "memory_budget": memory_budget,
        "energy_budget": energy_budget,
        "device": device,
        "profile": profile,
        "batch_size": batch_size,
        "dtype": dtype,
        "layout": layout,
        "threads": threads,
        "runtime": runtime,
        "latency_stat": None if latency_stat is None else str(latency_stat),
        "finalists": finalists,
        "sampler": sampler,
        "workers": workers,
        "backend": backend,
        "ray_address": ray_address,
        "gpus_per_trial": gpus_per_trial,
        "cpus_per_trial": cpus_per_trial,
    }
    found = autogate.resume(
        study,
        trials=trials,
        trainings=trainings,
        allow_stale=allow_stale,
        storage=storage,
        reporter=TerminalReporter(),
        timeout_s=None if timeout is None else parse_duration(timeout),
        **{name: value for name, value in changes.items() if value is not None},
    )
    return print_result(found, output)
