"""Keywords of the Python functions; written by ``python -m tools.settings``."""

from __future__ import annotations

from typing import Literal, TypedDict


class SearchSettings(TypedDict, total=False):
    """Keywords of :func:`autogate.search` and :func:`autogate.dry_run`."""

    latency_budget: str | None
    """Latency budget: 5ms, 800us, 60% or 0.6x of dense."""
    max_drop: str | None
    """Maximum accuracy drop, e.g. 0.5%: find the fastest policy within it (replaces --latency-budget)."""
    pareto: bool
    """Optimise accuracy and latency as two objectives (replaces --latency-budget)."""
    memory_budget: str | None
    """Also limit peak memory of one forward pass, e.g. 200MiB or 60% of dense."""
    energy_budget: str | None
    """Also limit energy per image, e.g. 0.5J or 70% of dense (GPU only)."""
    latency_stat: Literal["mean", "p50", "p95", "max"]
    """Statistic over inputs that counts as the latency."""
    weights: str | None
    """DEFAULT, a torchvision weights name, or a file."""
    new_head: bool
    """Replace the classifier if the data have another number of classes."""
    score_output: str | None
    """Place of the class scores in what the network returns: a name or an index, such as out or 0."""
    input_size: int | tuple[int, int] | None
    """Height and width of the input, e.g. 224 or 224x160."""
    val: str | None
    """Validation images: a folder with one folder per class, or split to take them from the training images."""
    mean: tuple[float, ...] | None
    """Mean per channel that inputs are normalised with, e.g. 0.485,0.456,0.406."""
    std: tuple[float, ...] | None
    """Standard deviation per channel that inputs are normalised with, e.g. 0.229,0.224,0.225."""
    memory_limit_bytes: int
    """Decoded images are held in memory up to this size, and read from disk above it."""
    download: bool
    """Let torchvision download a dataset."""
    device: str
    """Target device that is profiled and measured: auto, cpu, cuda:0."""
    batch_size: int
    """Images per call on the target."""
    dtype: str
    """Element type on the target: float32, float16, bfloat16, or int8 in a runtime of files."""
    layout: Literal["auto", "contiguous", "channels_last"]
    """Memory layout on the target; auto is the one in which dense is fastest."""
    threads: int | None
    """CPU threads on the target."""
    runtime: str
    """Runtime on the target: onnxruntime, openvino, eager, on a GPU cuda_graph, or one of a plug-in; auto is the
    one in which dense is fastest."""
    profile: str | None
    """Search for the device of this profile, a file or a recorded one; results stay predicted."""
    fresh_profile: bool
    """Profile this device anew, even if the database holds a profile of it."""
    allow_stale: bool
    """Use a profile of other library versions, after measuring part of it again; intervals widen."""
    trials: int
    """Number of candidates to propose; rejected and reused ones count."""
    trainings: int | None
    """Maximum number of candidates to train."""
    finalists: int
    """Number of finalists to train fully and measure; more if none meets the goal."""
    timeout_s: float | None
    """Propose no further candidate after this time, e.g. 30m or 2h."""
    seed: int
    """Seed of all random choices."""
    train_dense: bool
    """Train a network that has no weights even on a large dataset."""
    train_device: str | None
    """Device that trains."""
    train_dtype: Literal["auto", "float32", "bfloat16"]
    """Element type that trainings compute in; auto is bfloat16 where a step is clearly faster in it."""
    train_threads: int | None
    """CPU threads that train, on this machine and in all."""
    score_quantized: bool
    """Score candidates in int8, too, as the runtime computes them (needs --dtype int8)."""
    epochs: int | None
    """Epochs to train a finalist."""
    trial_epochs: int | None
    """Epochs to train a candidate."""
    lr: float | None
    """Peak learning rate."""
    workers: int | None
    """Local training processes; 0 = train only on `autogate worker`s."""
    backend: Literal["local", "ray"]
    """Where trainings run: on this machine or on a Ray cluster."""
    ray_address: str | None
    """Ray cluster to use (needs --backend ray)."""
    gpus_per_trial: float | None
    """GPUs of each training (needs --backend ray)."""
    cpus_per_trial: float
    """CPU cores of each training, with --backend ray."""


class ResumeSettings(TypedDict, total=False):
    """Keywords of :func:`autogate.resume`."""

    latency_budget: str | None
    """Latency budget: 5ms, 800us, 60% or 0.6x of dense."""
    max_drop: str | None
    """Maximum accuracy drop, e.g. 0.5%: find the fastest policy within it (replaces --latency-budget)."""
    memory_budget: str | None
    """Also limit peak memory of one forward pass, e.g. 200MiB or 60% of dense."""
    energy_budget: str | None
    """Also limit energy per image, e.g. 0.5J or 70% of dense (GPU only)."""
    latency_stat: Literal["mean", "p50", "p95", "max"]
    """Statistic over inputs that counts as the latency."""
    device: str
    """Target device that is profiled and measured: auto, cpu, cuda:0."""
    batch_size: int
    """Images per call on the target."""
    dtype: str
    """Element type on the target: float32, float16, bfloat16, or int8 in a runtime of files."""
    layout: Literal["auto", "contiguous", "channels_last"]
    """Memory layout on the target; auto is the one in which dense is fastest."""
    threads: int | None
    """CPU threads on the target."""
    runtime: str
    """Runtime on the target: onnxruntime, openvino, eager, on a GPU cuda_graph, or one of a plug-in; auto is the
    one in which dense is fastest."""
    profile: str | None
    """Search for the device of this profile, a file or a recorded one; results stay predicted."""
    fresh_profile: bool
    """Profile this device anew, even if the database holds a profile of it."""
    allow_stale: bool
    """Use a profile of other library versions, after measuring part of it again; intervals widen."""
    trials: int
    """Further candidates to propose [default: finish those asked for]."""
    trainings: int | None
    """Maximum number of candidates to train, those before included [default: unchanged]."""
    finalists: int
    """Number of finalists to train fully and measure; more if none meets the goal."""
    timeout_s: float | None
    """Propose no further candidate after this time, e.g. 30m or 2h [default: no limit]."""
    train_threads: int | None
    """CPU threads that train, on this machine and in all."""
    workers: int | None
    """Local training processes; 0 = train only on `autogate worker`s."""
    backend: Literal["local", "ray"]
    """Where trainings run: on this machine or on a Ray cluster."""
    ray_address: str | None
    """Ray cluster to use (needs --backend ray)."""
    gpus_per_trial: float | None
    """GPUs of each training (needs --backend ray)."""
    cpus_per_trial: float
    """CPU cores of each training, with --backend ray."""


class ProfileSettings(TypedDict, total=False):
    """Keywords of :func:`autogate.profile`."""

    input_size: int | tuple[int, int] | None
    """Height and width of the input, e.g. 224 or 224x160."""
    device: str
    """Target device that is profiled and measured: auto, cpu, cuda:0."""
    batch_size: int
    """Images per call on the target."""
    dtype: str
    """Element type on the target: float32, float16, bfloat16, or int8 in a runtime of files."""
    layout: Literal["auto", "contiguous", "channels_last"]
    """Memory layout on the target; auto is the one in which dense is fastest."""
    threads: int | None
    """CPU threads on the target."""
    runtime: str
    """Runtime on the target: onnxruntime, openvino, eager, on a GPU cuda_graph, or one of a plug-in; auto is the
    one in which dense is fastest."""
    seed: int
    """Seed of all random choices."""


class SensitivitySettings(TypedDict, total=False):
    """Keywords of :func:`autogate.sensitivity`."""

    weights: str | None
    """DEFAULT, a torchvision weights name, or a file."""
    score_output: str | None
    """Place of the class scores in what the network returns: a name or an index, such as out or 0."""
    input_size: int | tuple[int, int] | None
    """Height and width of the input, e.g. 224 or 224x160."""
    val: str | None
    """Validation images: a folder with one folder per class, or split to take them from the training images."""
    mean: tuple[float, ...] | None
    """Mean per channel that inputs are normalised with, e.g. 0.485,0.456,0.406."""
    std: tuple[float, ...] | None
    """Standard deviation per channel that inputs are normalised with, e.g. 0.229,0.224,0.225."""
    device: str
    """Target device that is profiled and measured: auto, cpu, cuda:0."""
    seed: int
    """Seed of all random choices."""
    train_dense: bool
    """Train a network that has no weights even on a large dataset."""
    train_dtype: Literal["auto", "float32", "bfloat16"]
    """Element type that trainings compute in; auto is bfloat16 where a step is clearly faster in it."""
    train_threads: int | None
    """CPU threads that train, on this machine and in all."""
