"""Where a search gets its profile from: one that is named, one that is stored, or one taken now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from autogate.errors import ProfileError
from autogate.gates import get_family
from autogate.latency import (
    LatencyModel,
    fastest_layout,
    profile_digest,
    read_profile,
    setting_of,
    take_profile,
    too_noisy,
)
from autogate.records import Profile, Setting
from autogate.search.config import SearchConfig
from autogate.search.reporter import Reporter
from autogate.shipped import shipped
from autogate.sites import Network
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.store import Store

QUICK_PROFILE_S = 40.0


def searched_space(config: SearchConfig, network: Network) -> BoundSpace:
    """Return the configuration's space on ``network``, without gates that cannot save time at its batch size.

    Raises:
        SpaceError: If the space does not fit the network.
    """
    return bind(parse_space(config.space, "the search space"), network.sites).restricted(
        lambda site, gate: get_family(gate.family).limits(network.sites[site], config.batch_size) is None
    )


def check_setting(config: SearchConfig, network: Network, device: torch.device) -> None:
    """Refuse a space or a setting that cannot be used, before anything is written.

    Raises:
        AutoGateError: With the first thing that is wrong.
    """
    searched_space(config, network)
    layout = "contiguous" if config.layout == "auto" else config.layout
    setting_of(device, batch_size=config.batch_size, dtype=config.dtype, layout=layout, threads=config.threads)


def profile_network(
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    reporter: Reporter,
    seconds: float,
    *,
    attempts: int = 3,
) -> Profile:
    """Profile a network on this device, for about ``seconds``; on a noisy machine again, up to ``attempts`` times."""
    setting = target_setting(config, network, device, reporter)
    with reporter.stage("profile"):
        for _ in range(attempts):
            taken = take_profile(
                network, space, setting, model=config.model, seconds=seconds, seed=config.seed,
                progress=reporter.progress,
            )  # fmt: skip
            if (wrong := too_noisy(taken)) is None:
                break
            reporter.note(f"the machine is noisy: {wrong}")
    return taken


def keep_profile(store: Store, profile: Profile) -> str:
    """Store a profile and return its identity."""
    key = profile_digest(profile)
    store.add_profile(key, profile)
    return key


def find_profile(name: str) -> Path:
    """Return the profile file called ``name``: a path, or one of the recorded profiles that ship with AutoGate."""
    recorded = shipped("hw_profiles") / f"{name}.jsonl"
    return recorded if not Path(name).exists() and recorded.exists() else Path(name)


def named_profile(config: SearchConfig) -> Profile:
    """Return the profile that the configuration names.

    Raises:
        ProfileError: If it cannot be read, or was made in another setting than the one searched for.
    """
    assert config.profile is not None  # noqa: S101 - the caller looked
    named = read_profile(find_profile(config.profile))
    layout = None if config.layout == "auto" else config.layout
    asked = {"batch_size": config.batch_size, "dtype": config.dtype, "layout": layout, "threads": config.threads}
    made = named.setting.to_json()
    wrong = [f"{key} {made[key]}, not {value}" for key, value in asked.items() if value not in (None, made[key])]
    if wrong:
        raise ProfileError(f"{config.profile} was made with {'; '.join(wrong)}; search with its own setting")
    return named


def target_setting(config: SearchConfig, network: Network, device: torch.device, reporter: Reporter) -> Setting:
    """Return the setting of the target; an ``auto`` layout is the one the dense network runs fastest in."""

    def setting_for(layout: str) -> Setting:
        return setting_of(
            device, batch_size=config.batch_size, dtype=config.dtype, layout=layout, threads=config.threads
        )

    if config.layout != "auto":
        return setting_for(config.layout)
    with reporter.stage("choose layout"):
        return setting_for(fastest_layout(network, setting_for))


def profile_for(
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    store: Store,
    facts: dict[str, Any],
    reporter: Reporter,
) -> tuple[Profile, bool]:
    """Return the profile to search with, and whether it is another device's: named, stored, or taken now.

    Args:
        config: The search's configuration.
        network: The traced network.
        space: The gates the profile must cover.
        device: The target device.
        store: Where profiles are kept.
        facts: Facts of the study; its ``profile`` is used if there.
        reporter: Hears of progress.

    Raises:
        ProfileError: If a named profile, or the study's own, was made in another setting.
    """
    profile = store.profile(str(facts.get("profile")))
    if profile is not None:
        if facts.get("foreign"):
            return profile, True
        if different := differences_here(profile, config, device):
            raise ProfileError(
                f"the study was profiled in another setting: {'; '.join(different)}; continue it there, or start "
                "another one here"
            )
        return profile, False
    if config.profile is not None:
        named = named_profile(config)
        return named, bool(differences_here(named, config, device))
    for profile in store.profiles(config.model):
        laid_out = config.layout in ("auto", profile.setting.layout)
        if laid_out and not differences_here(profile, config, device) and covers(profile, network, space):
            reporter.note(f"using the profile of {profile.created_utc}")
            return profile, False
    return profile_network(config, network, space, device, reporter, QUICK_PROFILE_S), False


def differences_here(profile: Profile, config: SearchConfig, device: torch.device) -> list[str]:
    """Return one line per respect in which a profile's setting is not the one of this device."""
    here = setting_of(
        device, batch_size=config.batch_size, dtype=config.dtype, layout=profile.setting.layout, threads=config.threads
    )
    return profile.setting.differences(here)


def covers(profile: Profile, network: Network, space: BoundSpace) -> bool:
    """Whether a profile was made of this network and holds every gate of the space."""
    if profile.input_shape != network.input_shape:
        return False
    try:
        latency = LatencyModel(profile, network)
        for site, gate in space.gates():
            latency.coverage(space.alone(site, gate))
    except ProfileError:
        return False
    return True
