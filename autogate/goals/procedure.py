"""How it is searched: what is proposed, how long and where candidates are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from autogate.errors import AutoGateError
from autogate.goals.option import Option
from autogate.units import parse_duration

SAMPLERS = ("tpe", "random", "gp", "nsgaii")


def check_sampler(text: str) -> str:
    """Return the name of a sampler, built in or ``package.module:factory``.

    Raises:
        AutoGateError: If it is neither.
    """
    if text in SAMPLERS or ":" in text:
        return text
    raise AutoGateError(f"--sampler must be {', '.join(SAMPLERS)} or package.module:factory, not {text!r}")


class ProcedureSettings(BaseModel):
    """Settings that state the procedure."""

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
            parse=check_sampler,
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
    train_dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Option(
            "Element type that trainings compute in; auto is bfloat16 where a step is clearly faster in it.",
            "training",
            commands=("search", "sensitivity"),
        ),
    ] = "auto"
    train_threads: Annotated[
        int | None,
        Field(gt=0, le=4096),
        Option(
            "CPU threads that train, on this machine and in all.",
            "training",
            unit="threads",
            on_resume="free",
            commands=("search", "worker", "sensitivity"),
            default_help="as many as pay on the cores that are free",
        ),
    ] = None
    score_quantized: Annotated[
        bool,
        Option("Score candidates in int8, too, as the runtime computes them (needs --dtype int8).", "training"),
    ] = False
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
