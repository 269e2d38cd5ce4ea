"""Profiles by what a user calls them, and whether one fits the setting that is asked for."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from autogate.errors import DeviceError, ProfileError
from autogate.goals import SearchConfig
from autogate.latency.hardware import setting_of
from autogate.latency.model import check_profile_matches, cut_into_units
from autogate.latency.profile import profile_digest, read_profile
from autogate.records import Profile, Setting
from autogate.resources import counts_energy
from autogate.runtimes import check_profiled, check_runtime, get_runtime, no_saving_reason
from autogate.sites import Network
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.store import Store, holds_studies
from autogate.system import shipped_folder

_DIGEST = re.compile("[0-9a-f]{16}")


def searched_space(config: SearchConfig, network: Network) -> BoundSpace:
    """Return the configuration's space on ``network``, without gates that cannot save time at its batch size.

    Raises:
        SpaceError: If the space does not fit the network.
    """
    return bind(parse_space(config.space, "the search space"), network.sites).restricted(
        lambda site, gate: no_saving_reason(gate, network.sites[site], config.batch_size, config.runtime) is None
    )


def check_setting(config: SearchConfig, network: Network, device: torch.device) -> None:
    """Refuse a space or a setting that cannot be used, before anything is written.

    Raises:
        AutoGateError: With the first thing that is wrong.
    """
    check_profiled(config.runtime)
    searched_space(config, network)
    layout = "contiguous" if config.layout == "auto" else config.layout
    setting_for(config, device, layout)
    if config.memory_budget is not None and get_runtime(config.runtime).isolated:
        raise DeviceError(
            f"--memory-budget cannot be measured in runtime {config.runtime}, which allocates in another process; "
            "leave it out, or search with --runtime eager"
        )
    if config.profile is None:
        check_runtime(config.runtime, device)


def check_resources(config: SearchConfig, device: torch.device) -> None:
    """Refuse budgets on what cannot be measured: memory and energy elsewhere, energy where nothing counts it.

    Raises:
        DeviceError: With the first such budget.
        ProfileError: If the profile that is named cannot be read.
    """
    asked = {"--memory-budget": config.memory_budget, "--energy-budget": config.energy_budget}
    flags = " and ".join(flag for flag, budget in asked.items() if budget is not None)
    if flags and config.profile is not None and is_foreign(named_profile(config), config, device):
        raise DeviceError(f"{flags} cannot be measured on the device of a profile; leave it out, or search there")
    if config.energy_budget is not None and not counts_energy(device):
        raise DeviceError(
            f"--energy-budget needs a GPU with an energy counter, and {device} has none; leave it out, or give --device"
        )


def keep_profile(store: Store, profile: Profile) -> str:
    """Store a profile and return its identity."""
    key = profile_digest(profile)
    store.add_profile(key, profile)
    return key


def find_profile(name: str) -> Path:
    """Return the profile file called ``name``: a path, or one of the recorded profiles that ship with AutoGate."""
    recorded = shipped_folder("hw_profiles") / f"{name}.jsonl"
    return recorded if not Path(name).exists() and recorded.exists() else Path(name)


def known_profile(name: str, url: str) -> Profile | None:
    """Return the profile of a file, a recorded one, or what the database at ``url`` keeps under a digest; else None.

    Raises:
        ProfileError: If there is such a file, and it cannot be read.
    """
    if (path := find_profile(name)).exists():
        return read_profile(path)
    return Store(url).profile(name) if _DIGEST.fullmatch(name) and holds_studies(url) else None


def profile_called(name: str, url: str) -> Profile:
    """Return what :func:`known_profile` does, or the own profile of the study of that name.

    Raises:
        ProfileError: If there is none of these.
    """
    if (known := known_profile(name, url)) is not None:
        return known
    if holds_studies(url) and name in (store := Store(url)).study_names():
        return own_profile(store, name)
    raise ProfileError(
        f"cannot read profile {name}: it is no file, no recorded profile, and neither the digest of a profile in the "
        "study database nor one of its studies; `autogate profile` takes one, and prints the digest"
    )


def own_profile(store: Store, study: str) -> Profile:
    """Return the profile that a study searched with.

    Raises:
        ProfileError: If it has none yet.
    """
    target = store.study(study).facts.target
    taken = None if target is None else store.profile(target.profile)
    if taken is None:
        raise ProfileError(f"study {study!r} has no profile yet; run `{store.command('resume', study)}`")
    return taken


def named_profile(config: SearchConfig, network: Network | None = None) -> Profile:
    """Return the profile that the configuration names.

    Raises:
        ProfileError: If it cannot be read, was made in another setting than the one searched for, or is of another
            network than ``network``.
    """
    assert config.profile is not None  # noqa: S101 - the caller looked
    named = read_profile(find_profile(config.profile))
    layout = None if config.layout == "auto" else config.layout
    asked = {
        "batch_size": config.batch_size,
        "dtype": config.dtype,
        "layout": layout,
        "threads": config.threads,
        "runtime": config.runtime,
    }
    made = named.setting.to_json()
    wrong = [f"{key} {made[key]}, not {value}" for key, value in asked.items() if value not in (None, made[key])]
    if wrong:
        raise ProfileError(f"{config.profile} was made with {'; '.join(wrong)}; search with its own setting")
    if network is not None:
        check_profile_matches(named, network, cut_into_units(network))
    return named


def is_foreign(profile: Profile, config: SearchConfig, device: torch.device) -> bool:
    """Whether a profile is another device's: more differs than versions and modes that may differ."""
    here = setting_here(profile, config, device)
    return not profile.setting.agrees_with(here) and not (config.allow_stale and profile.setting.is_stale(here))


def may_be_stale(profile: Profile, here: Setting, config: SearchConfig, what: str) -> bool:
    """Return True if a profile of another setting may be used because only versions or modes differ.

    Raises:
        ProfileError: If it may not; names what differs and what to do.
    """
    if config.allow_stale and profile.setting.is_stale(here):
        return True
    different = "; ".join(profile.setting.differences(here))
    instead = "use it all the same with --allow-stale" if profile.setting.is_stale(here) else "go on there"
    raise ProfileError(f"{what} was profiled in another setting: {different}; {instead}, or profile here")


def setting_here(profile: Profile, config: SearchConfig, device: torch.device) -> Setting:
    """Return the setting of this device that compares with a profile's."""
    return setting_for(config, device, profile.setting.layout)


def setting_for(config: SearchConfig, device: torch.device, layout: str) -> Setting:
    """Return the setting that is asked for, in one memory layout.

    Raises:
        DeviceError: If a value is unknown, or more than there is here.
    """
    return setting_of(
        device,
        batch_size=config.batch_size,
        dtype=config.dtype,
        layout=layout,
        threads=config.threads,
        runtime=config.runtime,
    )
