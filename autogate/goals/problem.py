"""What is searched for: the goal, and the network, the data and the target it is for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from autogate.errors import UnitError
from autogate.goals.option import Option
from autogate.records import LatencyStat
from autogate.units import parse_bytes, parse_channels, parse_size

AUTO = "auto"
"""Of a setting that is chosen by what the device at hand does fastest."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_DATA = "digits, an image folder, a torchvision dataset, or package.module:factory."
_MODEL = "resnet20…110, vgg16_bn_cifar, densenet40, a torchvision name, timm:NAME or package.module:factory."
_TIMED = ("search", "profile", "measure")


def checked_size(value: object) -> int | tuple[int, int]:
    """Return height and width of the input, or one number for a square; see :func:`autogate.units.parse_size`.

    Raises:
        UnitError: If it is no size; names the flag.
    """
    try:
        return parse_size(value)
    except UnitError as error:
        raise UnitError(f"--input-size {error}") from None


def _input_size(value: object) -> object:
    try:
        return None if value is None else checked_size(value)
    except UnitError as error:
        raise ValueError(str(error)) from None


class ProblemSettings(BaseModel):
    """Settings that state the problem."""

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
    score_output: Annotated[
        str | None,
        Option(
            "Place of the class scores in what the network returns: a name or an index, such as out or 0.",
            "network",
            commands=("search", "sensitivity"),
            flag="output",
            default_help="the only tensor",
        ),
    ] = None
    input_size: Annotated[
        int | tuple[int, int] | None,
        BeforeValidator(_input_size),
        Option(
            "Height and width of the input, e.g. 224 or 224x160.",
            "network",
            unit="pixels",
            commands=("search", "profile", "sensitivity", "sites"),
            default_help="that of weights and data",
        ),
    ] = None

    # Data
    data: Annotated[str, Option(_DATA, "data", commands=("search", "sensitivity"), positional=True)] = "digits"
    val: Annotated[
        str | None,
        Option(
            "Validation images: a folder with one folder per class, or split to take them from the training images.",
            "data",
            commands=("search", "sensitivity"),
            default_help="what the data bring, else split",
        ),
    ] = None
    mean: Annotated[
        tuple[_Finite, ...] | None,
        Field(min_length=1),
        Option(
            "Mean per channel that inputs are normalised with, e.g. 0.485,0.456,0.406.",
            "data",
            commands=("search", "sensitivity"),
            parse=parse_channels,
            default_help="that of weights and data",
        ),
    ] = None
    std: Annotated[
        tuple[_AboveZero, ...] | None,
        Field(min_length=1),
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
            "Element type on the target: float32, float16, bfloat16, or int8 in a runtime of files.",
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
            "Runtime on the target: onnxruntime, openvino, eager, on a GPU cuda_graph, or one of a plug-in; auto is "
            "the one in which dense is fastest.",
            "target",
            on_resume="target",
            commands=("search", "profile"),
        ),
    ] = AUTO
    profile: Annotated[
        str | None,
        Option(
            "Search for the device of this profile, a file or a recorded one; results stay predicted.",
            "target",
            on_resume="target",
            default_help="profile this device",
        ),
    ] = None
    fresh_profile: Annotated[
        bool,
        Option(
            "Profile this device anew, even if the database holds a profile of it.",
            "target",
            on_resume="free",
        ),
    ] = False
    allow_stale: Annotated[
        bool,
        Option(
            "Use a profile of other library versions, after measuring part of it again; intervals widen.",
            "target",
            on_resume="free",
            commands=("search", "profile validate"),
        ),
    ] = False
