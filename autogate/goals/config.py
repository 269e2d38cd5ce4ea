"""The resolved configuration of a search, stored with its study."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from autogate.errors import AutoGateError
from autogate.goals.defaults import FINALISTS, SAMPLERS, TRIALS
from autogate.records import LatencyStat
from autogate.units import Budgets, parse_drop

# Settings that may change from one run of a study to the next, because no accuracy depends on them.
FREE = (
    "trials",
    "trainings",
    "timeout_s",
    "finalists",
    "allow_stale",
    "sampler",
    "workers",
    "backend",
    "ray_address",
    "gpus_per_trial",
    "cpus_per_trial",
)

# What a study may be continued with: what was trained is judged anew.
BUDGETS = ("latency_budget", "max_drop", "memory_budget", "energy_budget")
TARGET = ("device", "batch_size", "dtype", "layout", "threads", "runtime", "profile", "latency_stat")
_MOST_WORKERS = 1024
_MOST = {"batch_size": 65_536, "input_size": 16_384, "lr": 1e6, "seed": 2**63 - 1}


class SearchConfig(BaseModel):
    """Everything a search depends on, except the code and the machine.

    Attributes:
        model: Network, as the user names it.
        data: Dataset, as the user names it.
        weights: Weights, or None to train the base network first.
        new_head: Whether a head of another class count is replaced.
        train_dense: Whether the base network may be trained on a large dataset.
        space: The search space, resolved.
        latency_budget: The budget, such as ``5ms`` or ``60%``; None in the other two modes.
        max_drop: Largest loss of validation accuracy, such as ``0.5%``; then the fastest policy wins.
        pareto: Whether accuracy and latency are both objectives.
        memory_budget: Besides, the most peak memory, such as ``200MiB`` or ``60%``; None for no limit.
        energy_budget: Besides, the most energy per image, such as ``80mJ`` or ``70%``; None for no limit.
        latency_stat: Statistic over inputs that the budget binds.
        device: Target device; ``auto`` is the first GPU if there is one, else the CPU.
        train_device: Device that trains.
        batch_size: Images per call on the target.
        dtype: Element type on the target.
        layout: Memory layout on the target, or ``auto`` for the one dense likes best.
        threads: CPU threads on the target; None for all cores.
        runtime: How networks run on the target: ``eager``, on a GPU as one ``cuda_graph``, or as a plug-in's name says.
        trials: Proposals to end complete, rejected or reused.
        trainings: Most candidates to train; None for no limit.
        finalists: Finalists that are fully trained and measured, more if none meets the budget.
        epochs: Epochs of a finalist's fine-tuning; None chooses by the size of the data.
        trial_epochs: Epochs of a candidate's training; None chooses by the size of the data.
        lr: Peak learning rate; None for each stage's own.
        timeout_s: Seconds after which no new trial starts.
        seed: Seed of everything random.
        input_size: Height and width of the input; None to ask weights and data.
        mean: Mean per channel; None to ask weights and data.
        std: Standard deviation per channel; None likewise.
        memory_limit_bytes: Decoded images above this stay on disk.
        download: Whether a torchvision dataset may be downloaded.
        profile: Path of a profile of another device to search for; None to profile this one.
        allow_stale: Whether a profile made with other versions may be used, after some networks of it were measured
            again.
        sampler: ``tpe``, ``random``, ``gp``, ``nsgaii``, ``package.module:factory``, or ``python:CLASS`` for an object.
        workers: Processes that train: 1 is this one itself, 0 leaves it to workers that join. None is 1, and on a
            cluster as many as it has room for.
        backend: Who runs them: this host (``local``), or a ``ray`` cluster.
        ray_address: Address of the cluster; None starts one on this host.
        gpus_per_trial: GPUs of each training on the cluster; None for one where the study trains on a GPU.
        cpus_per_trial: CPU cores of each training on the cluster.
        replay: Name of the study whose evaluations stand in for trainings; None to train.
        replay_s: Seconds that each of them is made to take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "resnet20"
    data: str = "digits"
    weights: str | None = None
    new_head: bool = False
    train_dense: bool = False
    space: dict[str, Any]
    latency_budget: str | None = None
    max_drop: str | None = None
    pareto: bool = False
    memory_budget: str | None = None
    energy_budget: str | None = None
    latency_stat: LatencyStat = "p95"
    device: str = "auto"
    train_device: str | None = None
    batch_size: int = 1
    dtype: str = "float32"
    layout: Literal["auto", "contiguous", "channels_last"] = "auto"
    threads: int | None = None
    runtime: str = "eager"
    trials: int = TRIALS
    trainings: int | None = None
    finalists: int = FINALISTS
    epochs: int | None = None
    trial_epochs: int | None = None
    lr: float | None = None
    timeout_s: float | None = None
    seed: int = 0
    input_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    memory_limit_bytes: int = 2 * 2**30
    download: bool = False
    profile: str | None = None
    allow_stale: bool = False
    sampler: str = "tpe"
    workers: int | None = None
    backend: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    gpus_per_trial: float | None = None
    cpus_per_trial: float = 1.0
    replay: str | None = None
    replay_s: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> SearchConfig:
        modes = [self.latency_budget is not None, self.max_drop is not None, self.pareto]
        if sum(modes) != 1:
            raise ValueError("give exactly one of --latency-budget 5ms, --max-drop 0.5% and --pareto")
        Budgets.parse(self.latency_budget, self.memory_budget, self.energy_budget)
        if self.max_drop is not None:
            parse_drop(self.max_drop)
        if self.sampler not in SAMPLERS and ":" not in self.sampler:
            raise ValueError(f"sampler must be {', '.join(SAMPLERS)} or package.module:factory, not {self.sampler!r}")
        for name in (
            "batch_size",
            "threads",
            "trials",
            "trainings",
            "finalists",
            "epochs",
            "trial_epochs",
            "cpus_per_trial",
            "lr",
            "timeout_s",
            "input_size",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name.replace('_', '-')} must be above zero, not {value:g}")
        for name, most in _MOST.items():
            if (getattr(self, name) or 0) > most:
                raise ValueError(f"{name.replace('_', '-')} must be at most {most}, not {getattr(self, name):g}")
        fewest = 1 if self.backend == "ray" else 0
        if self.workers is not None and not fewest <= self.workers <= _MOST_WORKERS:
            raise ValueError(f"workers must be between {fewest} and {_MOST_WORKERS}, not {self.workers}")
        if self.gpus_per_trial is not None and not 0 <= self.gpus_per_trial < math.inf:
            raise ValueError(f"gpus-per-trial must not be negative, not {self.gpus_per_trial:g}")
        if self.backend != "ray" and (self.ray_address is not None or self.gpus_per_trial is not None):
            raise ValueError("--ray-address and --gpus-per-trial go with --backend ray")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
        if not all(map(math.isfinite, (*(self.mean or ()), *(self.std or ())))):
            raise ValueError("mean and std must be finite in every channel")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be above zero in every channel")
        return self

    @property
    def budgets(self) -> Budgets:
        """What a delivered network may take."""
        return Budgets.parse(self.latency_budget, self.memory_budget, self.energy_budget)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready data."""
        return self.model_dump(mode="json")

    @property
    def has_team(self) -> bool:
        """Whether other processes than the one that drives the study train."""
        return self.backend == "ray" or self.workers not in (None, 1)

    @property
    def goal(self) -> str:
        """What a study is after: ``budget``, ``drop`` or ``pareto``."""
        return "budget" if self.latency_budget is not None else "drop" if self.max_drop is not None else "pareto"

    def changed(self, other: SearchConfig) -> list[str]:
        """Return the names of the settings that differ."""
        ours, theirs = self.to_json(), other.to_json()
        return [key for key in ours if ours[key] != theirs[key]]

    def differences(self, other: SearchConfig, but: Iterable[str] = ()) -> list[str]:
        """Return one line per setting that differs and may not change within a study; ``but`` for these."""
        ours, theirs = self.to_json(), other.to_json()
        changed = [key for key in self.changed(other) if key not in (*FREE, *but)]
        return [f"{key} is {_short(theirs[key])} there and {_short(ours[key])} here" for key in changed]


def make_config(**settings: Any) -> SearchConfig:
    """Return a checked configuration.

    Raises:
        AutoGateError: If a setting is unknown or out of range; says which.
    """
    try:
        return SearchConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise AutoGateError(f"{where}: {message}" if where else message) from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
