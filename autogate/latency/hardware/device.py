"""The device at hand: its name, the settings it can run, and having it alone for a measurement."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from autogate.device_lock import measurement
from autogate.errors import DeviceError
from autogate.records import Setting
from autogate.runtimes import INT8, get_runtime
from autogate.system import usable_cores

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""What modules and inputs are brought into; in int8 they stay float32, and the runtime quantises."""
_MOST_IMAGES = 65_536
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def resolve_device(name: str) -> torch.device:
    """Return the torch device called ``name``; ``auto`` is the first GPU if there is one, else the CPU.

    Raises:
        DeviceError: If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"unknown device {name!r}; write cpu or cuda:0") from None
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r} is not supported; write cpu or cuda:0")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"{name} was asked for, but torch finds no CUDA device; use --device cpu")
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise DeviceError(f"{name} was asked for, but there are {torch.cuda.device_count()} CUDA devices")
        return torch.device("cuda", index)
    return torch.device("cpu")


def setting_of(
    device: torch.device,
    *,
    batch_size: int,
    dtype: str = "float32",
    layout: str,
    threads: int | None = None,
    runtime: str = "eager",
) -> Setting:
    """Return the setting in which a network will run on ``device``.

    Raises:
        DeviceError: If a value is unknown or not positive.
    """
    if batch_size < 1:
        raise DeviceError(f"batch size {batch_size} must be at least 1")
    if batch_size > _MOST_IMAGES:
        raise DeviceError(f"batch size {batch_size} must be at most {_MOST_IMAGES}")
    cores = usable_cores()
    if threads is not None and threads < 1:
        raise DeviceError(f"--threads {threads} must be at least 1")
    if threads is not None and threads > cores:
        raise DeviceError(
            f"--threads {threads} needs as many cores, and this process may use {cores} (by the machine, taskset, or "
            f"the CPU limit of a container or batch job); lower it to {cores}, or allow more"
        )
    if dtype not in (known := (*DTYPES, INT8)):
        raise DeviceError(f"unknown dtype {dtype!r}; known: {', '.join(known)}")
    if layout not in LAYOUTS:
        raise DeviceError(f"unknown layout {layout!r}; known: auto, {', '.join(LAYOUTS)}")
    runs = get_runtime(runtime)
    if dtype not in (able := runs.dtypes or DTYPES):
        raise DeviceError(f"runtime {runtime!r} cannot run dtype {dtype!r}; it runs {', '.join(sorted(able))}")
    if runs.layouts is not None and layout not in runs.layouts:
        raise DeviceError(
            f"runtime {runtime!r} has no layout {layout!r}; use {', '.join(sorted(runs.layouts))} or auto"
        )
    versions = {"torch": torch.__version__, "python": platform.python_version(), **runs.versions()}
    if device.type == "cuda":
        from autogate.latency.hardware.gpu import gpu_modes

        versions |= {"driver": _driver_version(), **gpu_modes(device)}
    return Setting(
        str(device),
        device_name(device),
        batch_size,
        dtype,
        layout,
        threads or usable_cores(),
        runtime,
        versions,
    )


def device_name(device: torch.device) -> str:
    """Return the name of the hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {usable_cores()} cores"


def _driver_version() -> str:
    import pynvml

    pynvml.nvmlInit()
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def inference_setting(setting: Setting) -> Iterator[None]:
    """Run with the setting's thread count and in inference mode; restore both afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def exclusive_inference(setting: Setting) -> Iterator[None]:
    """Have the device alone, as in use."""
    with inference_setting(setting), measurement(torch.device(setting.device)):
        yield
