"""Where a search gets its profile from: one that is named, one that is stored, or one taken now."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from autogate.errors import DeviceError, ProfileError
from autogate.goals import SearchConfig
from autogate.latency.hardware import LAYOUTS, setting_of
from autogate.latency.model import MIN_NETWORKS, LatencyModel, check_profile_matches, cut_into_units
from autogate.latency.profile import (
    REAL,
    Instruments,
    begun_in,
    fastest_layout,
    profile_digest,
    read_profile,
    take_profile,
    transfer_profile,
)
from autogate.records import Profile, Setting
from autogate.resources import counts_energy
from autogate.runtimes import check_profiled, check_runtime, no_saving_reason
from autogate.sites import Network
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.store import Store, holds_studies
from autogate.studies import Reporter, StudyRun
from autogate.system import shipped_folder

QUICK_PROFILE_S = 40.0
_LAYOUT_SHARE = 0.2
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
    _setting(config, device, layout)
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


def profile_network(
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    reporter: Reporter,
    seconds: float,
    *,
    attempts: int = 3,
    strict_time_limit: bool = True,
    checkpoint_path: Path | None = None,
    instruments: Instruments = REAL,
) -> Profile:
    """Profile a network on this device, for at most ``seconds``.

    On a noisy machine, a phase is begun up to ``attempts`` times, within the same time. Without
    ``strict_time_limit``, a network so slow that every gate cannot be seen in that time gets more. With
    ``checkpoint_path``, a file, an interrupted profile goes on from what it has.

    Raises:
        ProfileError: If the time is too short.
    """
    start = instruments.clock()
    setting = None
    if checkpoint_path is not None and config.layout == "auto":
        # Dense may like another layout today; what was measured is worth more.
        settings = [_setting(config, device, layout) for layout in LAYOUTS]
        setting = begun_in(
            network, space, settings, checkpoint_path, model=config.model, seconds=seconds, seed=config.seed
        )
    within_s = _LAYOUT_SHARE * seconds if strict_time_limit else math.inf
    setting = setting or target_setting(config, network, device, reporter, within_s, instruments)
    with reporter.stage("profile"):
        taken = take_profile(
            network,
            space,
            setting,
            model=config.model,
            seconds=seconds,
            seed=config.seed,
            progress=reporter.progress,
            checkpoint_path=checkpoint_path,
            elapsed_s=instruments.clock() - start,
            strict_time_limit=strict_time_limit,
            attempts=attempts,
            instruments=instruments,
        )
    if (made := max(taken.method["attempts"].values(), default=1)) > 1:
        reporter.note(f"the machine was noisy: the profile was begun {made} times")
    return taken


def transfer_to_here(
    name: str,
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    reporter: Reporter,
    networks: int,
    seconds: float,
    *,
    strict_time_limit: bool = True,
    instruments: Instruments = REAL,
) -> Profile:
    """Carry a profile of another device over to this one, measuring only some ``networks`` here for ``seconds``.

    Without ``strict_time_limit``, a slow network gets more.

    Raises:
        ProfileError: If it cannot be read, is of another network or batch size, or networks or time are too few.
    """
    start = instruments.clock()
    if networks < MIN_NETWORKS:
        raise ProfileError(f"{networks} networks are too few to transfer with; ask for at least {MIN_NETWORKS}")
    there = read_profile(find_profile(name))
    within_s = _LAYOUT_SHARE * seconds if strict_time_limit else math.inf
    setting = target_setting(config, network, device, reporter, within_s, instruments)
    with reporter.stage("profile"):
        taken = transfer_profile(
            there,
            network,
            space,
            setting,
            networks=networks,
            seconds=seconds,
            seed=config.seed,
            progress=reporter.progress,
            elapsed_s=instruments.clock() - start,
            strict_time_limit=strict_time_limit,
            instruments=instruments,
        )
    if (measured := len(taken.networks)) < networks:
        reporter.note(f"{measured} of {networks} networks were measured; more do not fit into the time")
    return taken


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


def target_setting(
    config: SearchConfig,
    network: Network,
    device: torch.device,
    reporter: Reporter,
    hard_limit_s: float = math.inf,
    instruments: Instruments = REAL,
) -> Setting:
    """Return the setting of the target; an ``auto`` layout is the one the dense network runs fastest in.

    Raises:
        ProfileError: If that is not found in ``hard_limit_s`` seconds.
    """
    if config.layout != "auto":
        return _setting(config, device, config.layout)
    with reporter.stage("choose layout"):
        found = fastest_layout(
            network,
            lambda layout: _setting(config, device, layout),
            hard_limit_s=hard_limit_s,
            instruments=instruments,
        )
    return _setting(config, device, found)


def _setting(config: SearchConfig, device: torch.device, layout: str) -> Setting:
    return setting_of(
        device,
        batch_size=config.batch_size,
        dtype=config.dtype,
        layout=layout,
        threads=config.threads,
        runtime=config.runtime,
    )


@dataclass(frozen=True)
class FoundProfile:
    """The profile to search with.

    Attributes:
        profile: The profile.
        foreign: Whether it is another device's; results then stay predicted.
        stale: Whether it was made with other versions or modes of what runs the network.
    """

    profile: Profile
    foreign: bool = False
    stale: bool = False


def profile_for(run: StudyRun, network: Network, space: BoundSpace, device: torch.device) -> FoundProfile:
    """Return the profile to search with: the study's own, one that is named, one that is stored, or one taken now.

    Args:
        run: The study.
        network: The traced network.
        space: The gates the profile must cover.
        device: The target device.

    Raises:
        ProfileError: If a named profile, or the study's own, was made in another setting.
    """
    config, store, target = run.config, run.store, run.facts.target
    profile = None if target is None else store.profile(target.profile)
    if target is not None and profile is not None:
        if target.foreign:
            return FoundProfile(profile, foreign=True)
        here = setting_here(profile, config, device)
        if profile.setting.agrees_with(here):
            return FoundProfile(profile)
        return FoundProfile(profile, stale=may_be_stale(profile, here, config, "the study"))
    if config.profile is not None:
        named = named_profile(config, network)
        foreign = is_foreign(named, config, device)
        here = setting_here(named, config, device)
        return FoundProfile(named, foreign, not foreign and not named.setting.agrees_with(here))
    for profile in store.profiles(config.model):
        laid_out = config.layout in ("auto", profile.setting.layout)
        here = setting_here(profile, config, device)
        if laid_out and profile.setting.agrees_with(here) and covers(profile, network, space):
            run.reporter.info(f"using the profile of {profile.created_utc}")
            return FoundProfile(profile)
    # A search needs a profile, however slow the network is.
    return FoundProfile(
        profile_network(config, network, space, device, run.reporter, QUICK_PROFILE_S, strict_time_limit=False)
    )


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
    return _setting(config, device, profile.setting.layout)


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
