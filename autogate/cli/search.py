"""``autogate search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import autogate
from autogate.api import TerminalReporter
from autogate.cli.options import (
    AllowStale,
    Backend,
    BatchSize,
    CpusPerTrial,
    Device,
    Dtype,
    EnergyBudget,
    Format,
    FormatOption,
    GpusPerTrial,
    InputSize,
    Layout,
    MemoryBudget,
    Model,
    RayAddress,
    Runtime,
    Sampler,
    Seed,
    Space,
    Stat,
    StatOption,
    Storage,
    Threads,
    Workers,
    triple,
)
from autogate.cli.printing import console, print_json, print_search, print_table
from autogate.errors import AutoGateError, BudgetInfeasibleError
from autogate.goals import FINALISTS, TRIALS
from autogate.units import in_mib, parse_bytes, parse_duration

NOT_MET = 3
_PASSED_ON = (
    "latency_budget",
    "max_drop",
    "pareto",
    "memory_budget",
    "energy_budget",
    "model",
    "data",
    "weights",
    "new_head",
    "train_dense",
    "storage",
    "space",
    "trials",
    "trainings",
    "finalists",
    "device",
    "train_device",
    "batch_size",
    "dtype",
    "layout",
    "threads",
    "runtime",
    "epochs",
    "trial_epochs",
    "lr",
    "seed",
    "input_size",
    "download",
    "profile",
    "allow_stale",
)
_TEXTS = (
    "latency_budget",
    "max_drop",
    "memory_budget",
    "energy_budget",
    "model",
    "data",
    "weights",
    "study",
    "storage",
    "space",
    "device",
    "train_device",
    "dtype",
    "layout",
    "runtime",
    "timeout",
    "mean",
    "std",
    "memory_limit",
    "profile",
    "artifacts",
    "backend",
    "ray_address",
    "sampler",
)
_UNLESS_DEFAULT = ("workers", "backend", "ray_address", "gpus_per_trial", "cpus_per_trial", "sampler")


def command(
    context: typer.Context,
    latency_budget: Annotated[str | None, typer.Option(help="Such as 5ms, 800us, 60% or 0.6x of dense.")] = None,
    max_drop: Annotated[
        str | None, typer.Option(help="Instead: the fastest policy at most this far below dense.")
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Instead: accuracy and latency as two objectives.")] = False,
    memory_budget: MemoryBudget = None,
    energy_budget: EnergyBudget = None,
    model: Model = "resnet20",
    data: Annotated[
        str, typer.Option(help="digits, an image folder, a torchvision dataset, or package.module:factory.")
    ] = "digits",
    weights: Annotated[str | None, typer.Option(help="DEFAULT, a torchvision weights name, or a file.")] = None,
    new_head: Annotated[bool, typer.Option("--new-head", help="Replace a head of another class count.")] = False,
    train_dense: Annotated[
        bool, typer.Option("--train-dense", help="Train the base network, whatever the data's size.")
    ] = False,
    study: Annotated[str | None, typer.Option(help="Name of the study [default: a fresh one].")] = None,
    storage: Storage = None,
    artifacts: Annotated[
        str | None,
        typer.Option(help="Folder or URL that all hosts reach, for weights [default: with the database]."),
    ] = None,
    space: Space = "unified",
    trials: Annotated[int, typer.Option(help="Proposals that end complete, rejected or reused.")] = TRIALS,
    trainings: Annotated[int | None, typer.Option(help="Most candidates to train.")] = None,
    finalists: Annotated[int, typer.Option(help="Finalists to train fully and measure.")] = FINALISTS,
    device: Device = "auto",
    train_device: Annotated[str | None, typer.Option(help="Device that trains [default: the target].")] = None,
    batch_size: BatchSize = 1,
    dtype: Dtype = "float32",
    layout: Layout = "auto",
    threads: Threads = None,
    runtime: Runtime = "eager",
    latency_stat: StatOption = Stat.p95,
    epochs: Annotated[int | None, typer.Option(help="Epochs of a finalist's training [default: by data size].")] = None,
    trial_epochs: Annotated[
        int | None, typer.Option(help="Epochs of a candidate's training [default: one, or a part of a large set's].")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate [default: each stage's own].")] = None,
    timeout: Annotated[str | None, typer.Option(help="No new trial starts after this, such as 30m or 2h.")] = None,
    seed: Seed = 0,
    input_size: InputSize = None,
    mean: Annotated[str | None, typer.Option(help="Mean per channel, such as 0.485,0.456,0.406.")] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation per channel, such as 0.229,0.224,0.225.")] = None,
    memory_limit: Annotated[str, typer.Option(help="Decoded images above this stay on disk.")] = "2GiB",
    download: Annotated[bool, typer.Option("--download", help="Let torchvision download a dataset.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(help="Search for the device of this profile (a file, or a recorded one); results stay predicted."),
    ] = None,
    allow_stale: AllowStale = False,
    sampler: Sampler = None,
    workers: Workers = None,
    backend: Backend = None,
    ray_address: RayAddress = None,
    gpus_per_trial: GpusPerTrial = None,
    cpus_per_trial: CpusPerTrial = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of these options; what is typed wins.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is reachable, and train nothing.")] = False,
    output: FormatOption = Format.table,
) -> int:
    """Search gates under a latency budget, and measure the best."""
    options = merge_config(context, config)
    settings = {name: options[name] for name in _PASSED_ON}
    settings |= {name: options[name] for name in _UNLESS_DEFAULT if options[name] is not None}
    settings["latency_stat"] = str(options["latency_stat"])
    settings["timeout_s"] = None if options["timeout"] is None else parse_duration(str(options["timeout"]))
    settings["mean"], settings["std"] = (triple(options[name], name) for name in ("mean", "std"))
    settings["memory_limit_bytes"] = parse_bytes(str(options["memory_limit"]))
    reporter = TerminalReporter()
    if dry_run:
        _print_dry_run(autogate.dry_run(reporter=reporter, **settings).to_json(), output)
        return 0
    try:
        found = autogate.search(study=options["study"], artifacts=options["artifacts"], reporter=reporter, **settings)
    except BudgetInfeasibleError as error:
        if output is Format.json:
            print_json(error.document())
        raise
    return print_result(found, output)


def merge_config(context: typer.Context, path: Path | None) -> dict[str, Any]:
    """Return the options: what was typed, else what the YAML file says, else the defaults.

    Raises:
        AutoGateError: If the file cannot be read or names an unknown option.
    """
    options = dict(context.params)
    if path is None:
        return options
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise AutoGateError(f"cannot read {path}: {' '.join(str(error).split())[:150]}") from None
    if not isinstance(stored, dict):
        raise AutoGateError(f"{path} must hold options, such as `model: resnet20`")
    for key, value in stored.items():
        name = str(key).replace("-", "_")
        if name not in options or name in ("config", "output", "dry_run"):
            raise AutoGateError(f"{path}: unknown option {key!r}; see autogate search --help")
        source = context.get_parameter_source(name)
        if value is not None and (source is None or source.name != "COMMANDLINE"):
            if name in _TEXTS and not isinstance(value, str):
                raise AutoGateError(f"{path}: {key} must be a text, not {value!r}; put it in quotes")
            options[name] = value
    return options


def print_result(study: autogate.Study, output: Format) -> int:
    """Print a finished study and return the exit code: 3 if there are budgets and no finalist meets them."""
    document = study.document()
    if output is Format.json:
        print_json(document)
    else:
        print_search(document)
        console().print(f"study {study.name}: {study.store.command('show', study.name)}", markup=False)
    return NOT_MET if study.config.budgets.any and document["best"] is None else 0


def _print_dry_run(facts: dict[str, Any], output: Format) -> None:
    if output is Format.json:
        print_json(facts)
        return
    rows = [
        ("dense, predicted", f"{facts['dense_ms']:.3f} ms"),
        ("lightest reachable, predicted", f"{facts['lightest_ms']:.3f} ms"),
        ("budget", "none" if facts["budget_ms"] is None else f"{facts['budget_ms']:.3f} ms"),
        *_memory_rows(facts),
        ("reachable", "yes" if facts["reachable"] else "no"),
        ("decisions", facts["decisions"]),
        ("combinations", f"{facts['combinations']:.3g}"),
    ]
    print_table(f"{facts['device']}, batch {facts['batch_size']}", ("", ""), rows)
    for line in facts["cannot_pay"]:
        console().print(f"cannot pay here: {line}", markup=False)


def _memory_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = {
        "dense, peak memory": facts["dense_peak_memory_bytes"],
        "smallest reachable peak memory": facts["smallest_peak_memory_bytes"],
        "memory budget": facts["memory_budget_bytes"],
    }
    return [(name, in_mib(size_bytes)) for name, size_bytes in rows.items() if size_bytes is not None]
