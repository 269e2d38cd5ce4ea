"""What may make a machine's times unsteady, in words: other programs, and settings that let the clock change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from autogate.latency.hardware.machine import device_state
from autogate.records import Profile, Setting

# A load this far above the number of measuring threads comes from other programs.
_OTHER_LOAD = 0.5
_FULL_CLOCK = 0.9
_OTHERS_CORES = 0.1
NOTHING = "no cause found on this machine; it may be another virtual machine on the same host"


def noise_sources(profile: Profile, *, state_of: Callable[[torch.device], Mapping[str, Any]] = device_state) -> str:
    """Return what may have disturbed a profile that was just taken, as one text; ``NOTHING`` if no cause is found.

    Args:
        profile: The profile.
        state_of: Returns the current state of a device.
    """
    seen = {**profile.method, "busiest": profile.card.state.get("busiest") or ()}
    return noise_sources_of(profile.setting, seen, state_of=state_of)


def noise_sources_of(
    setting: Setting, seen: Mapping[str, Any], *, state_of: Callable[[torch.device], Mapping[str, Any]] = device_state
) -> str:
    """Return what may have disturbed a measurement that just ended, as one text; ``NOTHING`` if no cause is found.

    Args:
        setting: What was measured.
        seen: What was seen meanwhile: facts of a :class:`HostLoad`, and ``busiest`` processes.
        state_of: Returns the current state of a device.
    """
    device = torch.device(setting.device)
    # The host launches what a GPU runs, so noise on the host counts too.
    now = {**state_of(torch.device("cpu")), **(state_of(device) if device.type == "cuda" else {})}
    processes = [*now["busiest"], *seen.get("busiest", ())]
    state = {**now, **seen, "busiest": list(dict.fromkeys(processes))}
    found = noise_sources_in(state, threads=setting.threads)
    return "; ".join(found) or NOTHING


def noise_sources_in(state: Mapping[str, Any], *, threads: int) -> list[str]:
    """Return what in a device's state may make times unsteady, one short text per cause.

    Args:
        state: From :func:`device_state` and :class:`HostLoad`; facts that are absent or None are no cause.
        threads: Number of CPU threads that measure.
    """
    found = []
    if state.get("busiest"):
        found.append(f"other programs are running: {', '.join(state['busiest'])}")
    found += [
        f"{who} {cores:.1f} cores during the measurement"
        for key, who in (("others_cores", "other work kept busy"), ("stolen_cores", "the hypervisor withheld"))
        if (cores := state.get(key) or 0.0) > _OTHERS_CORES
    ]
    if (load := state.get("load")) is not None and load > threads + _OTHER_LOAD:
        found.append(f"the load is {load:.1f}, of which {threads} is the measurement")
    if (governor := state.get("governor")) not in (None, "performance"):
        found.append(f"the CPU's governor is {governor}, not performance")
    if state.get("turbo_off") == "0":
        found.append("the CPU's turbo is on")
    if state.get("smt") == "1":
        found.append("SMT is on: two threads may share a core")
    if state.get("other_processes"):
        found.append(f"{state['other_processes']} other processes use the GPU")
    found += [f"the GPU is {name.replace('_', ' ')}" for name in ("throttled", "power_capped") if state.get(name)]
    clock, highest = state.get("sm_mhz"), state.get("max_sm_mhz")
    if clock and highest and clock < _FULL_CLOCK * highest:
        found.append(f"the GPU's clock is at {clock} of {highest} MHz, which --lock-clocks holds")
    return found
