"""The settings of a search, each declared once; resolved, they are stored with the study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autogate.errors import AutoGateError
from autogate.goals.goal import Budgets, Goal
from autogate.goals.option import Option, changeable, check_names, in_words, settings_of
from autogate.records import LatencyStat
from autogate.units import parse_bytes, parse_channels, parse_duration

SAMPLERS = ("tpe", "random", "gp", "nsgaii")
PYTHON = "python:"
"""Begins the name of what a caller passed as an object: the name of its class follows."""
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_DATA = "digits, an image folder, a torchvision dataset, or package.module:factory."
_MODEL = "resnet20…110, vgg16_bn_cifar, densenet40, a torchvision name, timm:NAME or package.module:factory."
_TIMED = ("search", "profile", "measure")


def _check_sampler(text: str) -> str:
    if text in SAMPLERS or ":" in text:
        return text
    raise AutoGateError(f"--sampler must be {', '.join(SAMPLERS)} or package.module:factory, not {text!r}")


class SearchConfig(BaseModel):
    """Everything a search depends on, except the code and the machine.

    A field is all there is to write for a new setting: the options of the commands, the keys of a configuration
    file, the rules of a resume, the keywords of the Python functions and the reference page are made from it.
    After a change, ``python -m tools.settings`` writes the latter two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Goal
    latency_budget: Annotated[
        str | None,
        Option(
            "Latency budget: 5ms, 800us, 60% or 0.6x of dense.",
            "goal",
            on_resume="goal",
            commands=("search", "pareto"),
        ),
    ] = None
    max_drop: Annotated[
        str | None,
        Option(
            "Maximum accuracy drop, e.g. 0.5%: find the fastest policy within it (replaces --latency-budget).",
            "goal",
            on_resume="goal",
        ),
    ] = None
    pareto: Annotated[
        bool, Option("Optimise accuracy and latency as two objectives (replaces --latency-budget).", "goal")
    ] = False
    memory_budget: Annotated[
        str | None,
        Option(
            "Also limit peak memory of one forward pass, e.g. 200MiB or 60% of dense.",
            "goal",
            on_resume="goal",
            commands=("search", "pareto"),
        ),
    ] = None
    energy_budget: Annotated[
        str | None,
        Option(
            "Also limit energy per image, e.g. 0.5J or 70% of dense (GPU only).",
            "goal",
            on_resume="goal",
            commands=("search", "pareto"),
        ),
    ] = None
    latency_stat: Annotated[
        LatencyStat,
        Option(
            "Statistic over inputs that counts as the latency.",
            "goal",
            on_resume="target",
            commands=("search", "measure"),
        ),
    ] = "p95"

    # Network
    model: Annotated[
        str, Option(_MODEL, "network", commands=("search", "profile", "sensitivity", "sites"), positional=True)
    ] = "resnet20"
    weights: Annotated[
        str | None,
        Option(
            "DEFAULT, a torchvision weights name, or a file.",
            "network",
            commands=("search", "sensitivity"),
            default_help="train the network first",
        ),
    ] = None
    new_head: Annotated[
        bool, Option("Replace the classifier if the data have another number of classes.", "network")
    ] = False
    input_size: Annotated[
        int | None,
        Field(gt=0, le=16_384),
        Option(
            "Height and width of the input.",
            "network",
            unit="pixels",
            commands=("search", "profile", "sensitivity", "sites"),
            default_help="that of weights and data",
        ),
    ] = None

    # Data
    data: Annotated[str, Option(_DATA, "data", commands=("search", "sensitivity"), positional=True)] = "digits"
    mean: Annotated[
        tuple[_Finite, _Finite, _Finite] | None,
        Option(
            "Mean per channel that inputs are normalised with, e.g. 0.485,0.456,0.406.",
            "data",
            commands=("search", "sensitivity"),
            parse=parse_channels,
            default_help="that of weights and data",
        ),
    ] = None
    std: Annotated[
        tuple[_AboveZero, _AboveZero, _AboveZero] | None,
        Option(
            "Standard deviation per channel that inputs are normalised with, e.g. 0.229,0.224,0.225.",
            "data",
            commands=("search", "sensitivity"),
            parse=parse_channels,
            default_help="that of weights and data",
        ),
    ] = None
    memory_limit_bytes: Annotated[
        int,
        Option(
            "Decoded images are held in memory up to this size, and read from disk above it.",
            "data",
            unit="bytes",
            flag="memory-limit",
            parse=parse_bytes,
            default_text="2GiB",
        ),
    ] = 2 * 2**30
    download: Annotated[bool, Option("Let torchvision download a dataset.", "data")] = False

    # Target
    device: Annotated[
        str,
        Option(
            "Target device that is profiled and measured: auto, cpu, cuda:0.",
            "target",
            on_resume="target",
            commands=(*_TIMED, "sensitivity"),
        ),
    ] = "auto"
    batch_size: Annotated[
        int,
        Field(gt=0, le=65_536),
        Option("Images per call on the target.", "target", unit="images", on_resume="target", commands=_TIMED),
    ] = 1
    dtype: Annotated[
        str,
        Option(
            "Element type on the target: float32, float16 or bfloat16.",
            "target",
            on_resume="target",
            commands=("search", "profile"),
        ),
    ] = "float32"
    layout: Annotated[
        Literal["auto", "contiguous", "channels_last"],
        Option(
            "Memory layout on the target; auto is the one in which dense is fastest.",
            "target",
            on_resume="target",
            commands=_TIMED,
        ),
    ] = "auto"
    threads: Annotated[
        int | None,
        Field(gt=0),
        Option("CPU threads on the target.", "target", on_resume="target", commands=_TIMED, default_help="all cores"),
    ] = None
    runtime: Annotated[
        str,
        Option(
            "Runtime on the target: eager, on a GPU cuda_graph, or one of a plug-in.",
            "target",
            on_resume="target",
            commands=("search", "profile"),
        ),
    ] = "eager"
    profile: Annotated[
        str | None,
        Option(
            "Search for the device of this profile, a file or a recorded one; results stay predicted.",
            "target",
            on_resume="target",
            default_help="profile this device",
        ),
    ] = None
    allow_stale: Annotated[
        bool,
        Option(
            "Use a profile of other library versions, after measuring part of it again; intervals widen.",
            "target",
            on_resume="free",
            commands=("search", "profile validate"),
        ),
    ] = False

    # Search
    space: Annotated[
        dict[str, Any],
        Option(
            "Search space: a shipped name (see `autogate spaces`) or a YAML file.",
            "search",
            commands=("search", "profile", "profile validate"),
            default_text="unified",
            positional=True,
        ),
    ]
    trials: Annotated[
        int,
        Field(gt=0),
        Option(
            "Number of candidates to propose; rejected and reused ones count.",
            "search",
            on_resume="free",
            commands=("search", "replay"),
            resume_help="Further candidates to propose [default: finish those asked for].",
        ),
    ] = 40
    trainings: Annotated[
        int | None,
        Field(gt=0),
        Option(
            "Maximum number of candidates to train.",
            "search",
            on_resume="free",
            default_help="no limit",
            resume_help="Maximum number of candidates to train, those before included [default: unchanged].",
        ),
    ] = None
    finalists: Annotated[
        int,
        Field(gt=0),
        Option(
            "Number of finalists to train fully and measure; more if none meets the goal.",
            "search",
            on_resume="free",
        ),
    ] = 2
    timeout_s: Annotated[
        float | None,
        Field(gt=0, allow_inf_nan=False),
        Option(
            "Propose no further candidate after this time, e.g. 30m or 2h.",
            "search",
            unit="s",
            on_resume="free",
            flag="timeout",
            parse=parse_duration,
            default_help="no limit",
            resume_help="Propose no further candidate after this time, e.g. 30m or 2h [default: no limit].",
        ),
    ] = None
    sampler: Annotated[
        str,
        Option(
            "What proposes candidates: tpe, random (the baseline), gp, nsgaii or package.module:factory.",
            "search",
            on_resume="free",
            commands=("search", "replay"),
            positional=True,
            parse=_check_sampler,
        ),
    ] = "tpe"
    seed: Annotated[
        int,
        Field(ge=0, le=2**63 - 1),
        Option(
            "Seed of all random choices.",
            "search",
            commands=("search", "profile", "profile validate", "sensitivity", "replay"),
        ),
    ] = 0

    # Training
    train_dense: Annotated[
        bool,
        Option(
            "Train a network that has no weights even on a large dataset.",
            "training",
            commands=("search", "sensitivity"),
        ),
    ] = False
    train_device: Annotated[
        str | None,
        Option("Device that trains.", "training", commands=("search", "worker"), default_help="the target device"),
    ] = None
    epochs: Annotated[
        int | None,
        Field(gt=0),
        Option("Epochs to train a finalist.", "training", unit="epochs", default_help="by the size of the data"),
    ] = None
    trial_epochs: Annotated[
        int | None,
        Field(gt=0),
        Option(
            "Epochs to train a candidate.",
            "training",
            unit="epochs",
            default_help="one, or part of one if the data are large",
        ),
    ] = None
    lr: Annotated[
        float | None,
        Field(gt=0, le=1e6, allow_inf_nan=False),
        Option("Peak learning rate.", "training", default_help="that of each stage"),
    ] = None
    workers: Annotated[
        int | None,
        Field(ge=0, le=1024),
        Option(
            "Local training processes; 0 = train only on `autogate worker`s.",
            "training",
            unit="processes",
            on_resume="free",
            commands=("search", "replay"),
            default_help="1; ray: as many as fit",
        ),
    ] = None
    backend: Annotated[
        Literal["local", "ray"],
        Option("Where trainings run: on this machine or on a Ray cluster.", "training", on_resume="free"),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Option(
            "Ray cluster to use (needs --backend ray).",
            "training",
            on_resume="free",
            default_help="one is started here",
        ),
    ] = None
    gpus_per_trial: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False),
        Option(
            "GPUs of each training (needs --backend ray).",
            "training",
            unit="GPUs",
            on_resume="free",
            default_help="1 if the study trains on a GPU",
        ),
    ] = None
    cpus_per_trial: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        Option("CPU cores of each training, with --backend ray.", "training", unit="cores", on_resume="free"),
    ] = 1.0

    # Study
    replay: Annotated[
        str | None, Option("Study whose evaluations replace trainings.", "study", commands=(), default_help="train")
    ] = None
    replay_s: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Option("Time that each replaced training is made to take.", "study", unit="s", commands=()),
    ] = 0.0

    @model_validator(mode="after")
    def _check(self) -> SearchConfig:
        """Check what no field can check alone; the goal is parsed here."""
        _ = self.goal
        _check_sampler(self.sampler)
        if self.backend == "ray" and self.workers == 0:
            raise ValueError("--workers must be at least 1 with --backend ray, not 0")
        if self.backend != "ray" and (self.ray_address is not None or self.gpus_per_trial is not None):
            raise ValueError("--ray-address and --gpus-per-trial go with --backend ray")
        return self

    @cached_property
    def goal(self) -> Goal:
        """What the search is for."""
        return Goal.parse(
            latency_budget=self.latency_budget,
            max_drop=self.max_drop,
            pareto=self.pareto,
            memory_budget=self.memory_budget,
            energy_budget=self.energy_budget,
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> SearchConfig:
        """Return a copy with other values; its goal is parsed from them."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("goal", None)
        return copied

    @property
    def budgets(self) -> Budgets:
        """What a delivered network may take."""
        return self.goal.budgets

    @property
    def has_team(self) -> bool:
        """Whether other processes than the one that drives the study train."""
        return self.backend == "ray" or self.workers not in (None, 1)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready data."""
        return self.model_dump(mode="json")

    def changed(self, other: SearchConfig) -> list[str]:
        """Return the names of the settings that differ."""
        ours, theirs = self.to_json(), other.to_json()
        return [key for key in ours if ours[key] != theirs[key]]

    def differences(self, other: SearchConfig, but: Iterable[str] = ()) -> list[str]:
        """Return one line per setting that differs and may not change within a study; ``but`` for these."""
        ours, theirs = self.to_json(), other.to_json()
        changed = [key for key in self.changed(other) if key not in (*FREE, *but)]
        return [f"{key} is {_short(theirs[key])} there and {_short(ours[key])} here" for key in changed]


# Settings that a resume may change: at will, with another goal, and with another target.
FREE = changeable(SearchConfig, "free")
BUDGETS = changeable(SearchConfig, "goal")
TARGET = changeable(SearchConfig, "target")


def make_config(**settings: Any) -> SearchConfig:
    """Return a checked configuration.

    Raises:
        AutoGateError: If a setting is unknown or out of range; says which.
    """
    check_names(settings, settings_of(SearchConfig))
    try:
        return SearchConfig(**settings)
    except ValidationError as error:
        raise AutoGateError(in_words(error, SearchConfig)) from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
