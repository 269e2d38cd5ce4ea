"""Which runtime a search is for: the one that is asked for, or the one in which dense is fastest on this device."""

from __future__ import annotations

import time

import torch

from autogate.errors import DeviceError
from autogate.goals import AUTO, SearchConfig
from autogate.latency.hardware import DTYPES
from autogate.latency.profile import REAL, Instruments, dense_times_ms, layouts_of, read_profile
from autogate.nas.profiles.profiles import check_setting, find_profile, setting_for
from autogate.records import RuntimeTime
from autogate.runtimes import RUNTIMES, check_runtime, get_runtime
from autogate.sites import Network
from autogate.studies import Reporter
from autogate.system import one_line

_SECONDS = 1.0
# Threads of the runtime before have gone to sleep by then.
_SETTLE_S = 0.2


def settled_runtime(
    config: SearchConfig, network: Network, device: torch.device, reporter: Reporter, instruments: Instruments = REAL
) -> tuple[SearchConfig, tuple[RuntimeTime, ...]]:
    """Return the configuration with a runtime in the place of ``auto``, and what it was chosen among.

    Dense is timed in every runtime that is installed, runs on the device, and can be searched in, one after the other;
    the fastest one is taken. A named profile has one already.

    Args:
        config: What is asked for.
        network: The network.
        device: The target.
        reporter: Told what dense takes in each.
        instruments: What to measure with.

    Raises:
        AutoGateError: If anything asked for cannot be had in any runtime.
        ProfileError: If the named profile cannot be read.
    """
    if config.runtime != AUTO:
        return config, ()
    if config.profile is not None:
        return config.model_copy(update={"runtime": read_profile(find_profile(config.profile)).setting.runtime}), ()
    # What is wrong in any runtime is said before networks are timed.
    any_runtime = next((name for name, one in RUNTIMES.items() if config.dtype in (one.dtypes or DTYPES)), "eager")
    check_setting(config.model_copy(update={"runtime": any_runtime}), network, device)
    found = []
    with reporter.stage("choose runtime"):
        for name, runtime in RUNTIMES.items():
            if not runtime.profiles_networks or (runtime.isolated and config.budgets.memory is not None):
                continue
            reporter.progress(0.0, name)
            found.append(_timed(name, config, network, device, instruments))
    able = sorted((one for one in found if one.dense_ms is not None), key=lambda one: one.dense_ms or 0.0)
    if not able:
        reasons = "; ".join(f"{one.runtime}: {one.reason}" for one in found)
        raise DeviceError(f"the network runs in no runtime here: {reasons}")
    best = able[0]
    if len(able) > 1:
        times = ", ".join(f"{one.dense_ms:.3f} ms in {one.runtime}" for one in able)
        reporter.note(f"dense takes {times}; {best.runtime} is the target (--runtime for another)")
    return config.model_copy(update={"runtime": best.runtime}), tuple(found)


def _timed(
    name: str, config: SearchConfig, network: Network, device: torch.device, instruments: Instruments
) -> RuntimeTime:
    """Return what dense takes in one runtime, in the layout it likes best, or why it cannot run there."""
    try:
        check_runtime(name, device)
        runtime = get_runtime(name)
        if config.dtype not in (runtime.dtypes or DTYPES):
            return RuntimeTime(name, reason=f"it does not run {config.dtype}")
        layouts = [one for one in layouts_of(name) if config.layout in ("auto", one)]
        if not layouts:
            return RuntimeTime(name, reason=f"it has no layout {config.layout}")
        here = config.model_copy(update={"runtime": name})
        settings = [setting_for(here, device, layout) for layout in layouts]
        time.sleep(_SETTLE_S)
        times_ms = dense_times_ms(network, settings, _SECONDS * len(layouts), instruments=instruments)
    except DeviceError as error:
        return RuntimeTime(name, reason=one_line(error))
    fastest_ms = min(times_ms)
    return RuntimeTime(name, fastest_ms, layouts[times_ms.index(fastest_ms)])
