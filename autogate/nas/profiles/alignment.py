"""In which steps numbers of channels are searched: those in which time grows in the runtime that is searched for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from autogate.goals import SearchConfig
from autogate.latency.profile import REAL, Instruments, channel_step, layouts_of, read_profile
from autogate.nas.profiles.profiles import find_profile, setting_for
from autogate.records import Profile
from autogate.space import AUTO_STEP, FoundStep, SpaceSpec, parse_space
from autogate.store import Store
from autogate.studies import Reporter

_SECONDS = 1.0
_ALIGN = "align"
# In a profile's method.
_KEY = "channel_step"


def settled_space(
    config: SearchConfig,
    device: torch.device,
    reporter: Reporter,
    store: Store | None = None,
    *,
    measure: Callable[..., int] = channel_step,
    instruments: Instruments = REAL,
) -> SearchConfig:
    """Return the configuration with a step in the place of ``align: auto`` in its space.

    A named profile, or one of this setting in the database, says which one it was taken with; otherwise it is found in
    a few seconds.

    Args:
        config: What is asked for, with its runtime.
        device: The target.
        reporter: Told which step was found.
        store: The study database, if it is there.
        measure: Finds the step on the device.
        instruments: What to measure with.

    Raises:
        ProfileError: If the named profile cannot be read.
        DeviceError: If the runtime cannot run.
    """
    if config.space.get(_ALIGN) != AUTO_STEP:
        return config
    if config.profile is not None:
        step = step_of(read_profile(find_profile(config.profile)))
    elif (known := _known_step(config, device, store)) is not None:
        step = known
    else:
        layout = layouts_of(config.runtime)[0] if config.layout == "auto" else config.layout
        with reporter.stage("find channel steps"):
            step = measure(setting_for(config, device, layout), _SECONDS, instruments=instruments)
        if step > 1:
            reporter.note(f"{config.runtime} takes channels in steps of {step}, and so do the candidates")
    return config.model_copy(update={"space": {**config.space, _ALIGN: FoundStep(auto=step).model_dump()}})


def step_of(profile: Profile) -> int:
    """Return the step that a profile was taken with; 1 if it was none that was found on the device."""
    return int(profile.method.get(_KEY, 1))


def at_step_of(space: SpaceSpec, profile: Profile) -> SpaceSpec:
    """Return the space whose ``align: auto`` is the step that a profile was taken with."""
    if space.align != AUTO_STEP:
        return space
    return space.model_copy(update={"align": FoundStep(auto=step_of(profile))})


def at_step_there(space: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space with the step of a study that is there; one from before there were steps has none."""
    rest = {key: value for key, value in space.items() if key != _ALIGN}
    return {**rest, _ALIGN: there[_ALIGN]} if _ALIGN in there else rest


def _known_step(config: SearchConfig, device: torch.device, store: Store | None) -> int | None:
    """Return the step of a profile of the database that was taken in the same setting; None if there is none."""
    for profile in store.profiles(config.model) if store is not None else ():
        here = setting_for(config, device, profile.setting.layout)
        if _KEY in profile.method and profile.setting.agrees_with(here):
            return step_of(profile)
    return None


def with_step(profile: Profile, config: SearchConfig) -> Profile:
    """Return a profile that says which step its space was bound with, if that was found on the device."""
    align = parse_space(config.space, "the search space").align
    if not isinstance(align, FoundStep):
        return profile
    return replace(profile, method={**profile.method, _KEY: align.auto})
