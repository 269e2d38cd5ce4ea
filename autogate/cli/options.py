"""Options that several commands share, each written once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from autogate.errors import UnitError


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


class Stat(StrEnum):
    """A statistic over inputs."""

    mean = "mean"
    p50 = "p50"
    p95 = "p95"
    max = "max"


StudyName = Annotated[str, typer.Argument(help="Name of the study.")]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="table, or json: one document on stdout.")]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="AUTOGATE_STORAGE",
        help="Database URL [default: sqlite:///studies/autogate.db].",
        show_envvar=True,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="resnet20…110, vgg16_bn_cifar, densenet40, a torchvision name, timm:NAME or package.module:factory."
    ),
]
Space = Annotated[str, typer.Option(help="Search space: a shipped name (see `autogate spaces`) or a YAML file.")]
Device = Annotated[str, typer.Option(help="Target device that is profiled and measured: auto, cpu, cuda:0.")]
BatchSize = Annotated[int, typer.Option(help="Images per call on the target.")]
Dtype = Annotated[str, typer.Option(help="Element type on the target: float32, float16 or bfloat16.")]
Layout = Annotated[
    str, typer.Option(help="Memory layout on the target: auto (dense's fastest), contiguous, channels_last.")
]
Threads = Annotated[int | None, typer.Option(help="CPU threads on the target [default: all cores].")]
Runtime = Annotated[str, typer.Option(help="Runtime on the target: eager, on a GPU cuda_graph, or one of a plug-in.")]
MemoryBudget = Annotated[
    str | None, typer.Option(help="Besides: most peak memory, such as 200MiB, 512MB or 60% of dense.")
]
EnergyBudget = Annotated[
    str | None, typer.Option(help="Besides: most energy per image, such as 0.5J, 80mJ or 70% of dense; GPU only.")
]
InputSize = Annotated[int | None, typer.Option(help="Height and width of the input in pixels.")]
NumClasses = Annotated[int | None, typer.Option(help="Outputs of the classifier [default: the network's own].")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes that train; 0 leaves it to `autogate worker` [1; ray: all there is room for]."),
]
Backend = Annotated[str | None, typer.Option(help="Who runs trainings: local, or ray [default: local].")]
RayAddress = Annotated[str | None, typer.Option(help="Ray cluster to use [default: one is started here].")]
GpusPerTrial = Annotated[float | None, typer.Option(help="With ray: GPUs of each training [default: 1 on a GPU].")]
CpusPerTrial = Annotated[float | None, typer.Option(help="With ray: CPU cores of each training [1].")]
Sampler = Annotated[
    str | None, typer.Option(help="tpe, random (the baseline), gp, nsgaii or package.module:factory [tpe].")
]
AllowStale = Annotated[
    bool,
    typer.Option(
        "--allow-stale",
        help="Use a profile of other library versions, after measuring some of it again; intervals widen.",
    ),
]
StatOption = Annotated[Stat, typer.Option(help="Statistic over inputs that the budget binds.")]


def numbers(text: str, name: str) -> tuple[float, ...]:
    """Parse comma-separated numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UnitError(f"--{name} {text!r} must be numbers; write them like 0.1,0.3,0.5") from None


def triple(text: str | None, name: str) -> tuple[float, float, float] | None:
    """Parse three comma-separated numbers, one per RGB channel."""
    if text is None:
        return None
    try:
        values = numbers(text, name)
    except UnitError:
        values = ()
    if len(values) != 3:
        raise UnitError(f"--{name} {text!r} must be three numbers, one per channel; write it like 0.485,0.456,0.406")
    return values[0], values[1], values[2]
