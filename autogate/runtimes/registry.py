"""The registry of runtimes: found by name, and what is asked of one by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import fx, nn

from autogate.errors import DeviceError
from autogate.policy import Gate
from autogate.records import Setting, Site
from autogate.runtimes.isolated import IsolatedRuntime
from autogate.runtimes.runtime import Runnable, Runtime, TimedByUnit
from autogate.system import Registry, one_line, registering

RUNTIMES: Registry[Runtime] = Registry(
    "runtime",
    "autogate.runtimes",
    DeviceError,
    built_in=(
        "autogate.runtimes.eager",
        "autogate.runtimes.cuda_graph",
        "autogate.runtimes.inductor",
        "autogate.runtimes.onnxruntime",
        "autogate.runtimes.openvino",
    ),
)
register_runtime = registering(RUNTIMES, Runtime)  # type: ignore[type-abstract]
_OTHERWISE = "use --runtime eager"


def get_runtime(name: str) -> Runtime:
    """Return the runtime called ``name``.

    Raises:
        DeviceError: If there is none; names the closest ones. If its package is broken; names the package.
    """
    return RUNTIMES.find(name)


def isolated_runtime(name: str) -> IsolatedRuntime:
    """Return the runtime called ``name``, which is known to read files."""
    found = get_runtime(name)
    assert isinstance(found, IsolatedRuntime)  # noqa: S101 - the caller knows
    return found


def no_saving_reason(gate: Gate, site: Site, batch_size: int, runtime: str) -> str | None:
    """Return why a gate can save nothing at a site in a runtime, whatever the device; None if it may."""
    return get_runtime(runtime).no_saving_reason(gate, site, batch_size)


def check_runtime(name: str, device: torch.device) -> None:
    """Refuse a runtime that the device at hand does not have; a profile of another device may well.

    Raises:
        DeviceError: If networks cannot run so here: a package is missing, or the device is not supported.
    """
    runtime = get_runtime(name)
    if (missing := runtime.missing_reason()) is not None:
        raise DeviceError(missing)
    try:
        reason = runtime.unsupported_reason(device)
    except Exception as error:  # a runtime of another package may fail in any way
        reason = f"runtime {name} failed: {one_line(error, with_type=True)}"
    if reason is not None:
        raise DeviceError(f"{reason}; {_OTHERWISE}")


def check_profiled(name: str) -> None:
    """Refuse a runtime in which networks cannot be profiled, and so not searched.

    Raises:
        DeviceError: If finished networks can only be measured in it.
    """
    if not get_runtime(name).profiles_networks:
        able = ", ".join(other for other, runtime in RUNTIMES.items() if runtime.profiles_networks)
        raise DeviceError(
            f"networks cannot be profiled or searched in runtime {name!r}; use one of {able}, and then "
            f"`autogate measure --runtime {name}` on what was exported"
        )


def runnable(module: nn.Module, x: torch.Tensor, setting: Setting) -> Runnable:
    """Return what runs ``module`` in the setting's runtime, ready for inputs like ``x``, ``[N, C, H, W]``.

    Raises:
        DeviceError: If the network cannot be compiled or captured here.
    """
    with _in_words(setting):
        return get_runtime(setting.runtime).of_dtype(setting.dtype).prepare(module, x)


def timed_by_unit(compact: fx.GraphModule, x: torch.Tensor, setting: Setting) -> TimedByUnit | None:
    """Return what times the units of a compact network, if the setting's runtime does so itself; else None.

    Raises:
        DeviceError: If the network cannot be compiled here.
    """
    with _in_words(setting):
        return get_runtime(setting.runtime).of_dtype(setting.dtype).time_by_unit(compact, x)


@contextmanager
def _in_words(setting: Setting) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # compilers and drivers raise what they like
        raise DeviceError(f"the network cannot run as {setting.runtime}: {one_line(error)}; {_OTHERWISE}") from None
