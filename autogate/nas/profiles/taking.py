"""Take a profile of this device for a search: measured whole, or carried over from another device."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from autogate.errors import NoiseError, ProfileError
from autogate.goals import SearchConfig
from autogate.latency.model import MIN_NETWORKS, LatencyModel
from autogate.latency.profile import (
    REAL,
    Instruments,
    begun_in,
    fastest_layout,
    layouts_of,
    read_profile,
    spoiled_reason,
    take_profile,
    transfer_profile,
)
from autogate.nas.profiles.alignment import with_step
from autogate.nas.profiles.profiles import find_profile, setting_for
from autogate.records import Profile, Setting
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.studies import Reporter

QUICK_PROFILE_S = 40.0
_LAYOUT_SHARE = 0.2
# How often a phase is begun, and a whole profile taken, on a noisy machine.
_ATTEMPTS = 3
_TAKES = 2
_WAIT_S = 60.0


def profile_network(
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    reporter: Reporter,
    seconds: float,
    *,
    allow_noisy: bool = False,
    strict_time_limit: bool = True,
    checkpoint_path: Path | None = None,
    instruments: Instruments = REAL,
) -> Profile:
    """Profile a network on this device, for at most ``seconds``.

    On a noisy machine, a phase is begun up to three times, within the same time. Without ``strict_time_limit``, a
    network so slow that every gate cannot be seen in that time gets more, and a profile that other work spoiled is
    taken again as soon as the host is quieter. With ``checkpoint_path``, a file, an interrupted
    profile goes on from what it has.

    Raises:
        ProfileError: If the time is too short.
        NoiseError: If other work spoils the profile, unless ``allow_noisy``.
    """
    patience = instruments.patience(_WAIT_S)
    takes = 1 if strict_time_limit or allow_noisy else _TAKES
    for take in range(takes):
        taken = _taken(
            config,
            network,
            space,
            device,
            reporter,
            seconds,
            attempts=1 if allow_noisy else _ATTEMPTS,
            strict_time_limit=strict_time_limit,
            checkpoint_path=checkpoint_path,
            instruments=instruments,
        )
        spoiled = None if allow_noisy else spoiled_reason(LatencyModel(taken, network))
        if spoiled is None:
            return with_step(taken, config)
        if take + 1 < takes:
            reporter.info(f"noise spoiled the profile, which is taken again: {spoiled}")
            with reporter.stage("wait for a quiet machine"):
                patience.wait(taken.setting, lambda text: reporter.progress(0.0, text))
    raise too_noisy(spoiled or "")


def _taken(
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    reporter: Reporter,
    seconds: float,
    *,
    attempts: int,
    strict_time_limit: bool,
    checkpoint_path: Path | None,
    instruments: Instruments,
) -> Profile:
    start = instruments.clock()
    setting = None
    if checkpoint_path is not None and config.layout == "auto":
        # Dense may like another layout today; what was measured is worth more.
        settings = [setting_for(config, device, layout) for layout in layouts_of(config.runtime)]
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
    allow_noisy: bool = False,
    strict_time_limit: bool = True,
    instruments: Instruments = REAL,
) -> Profile:
    """Carry a profile of another device over to this one, measuring only some ``networks`` here for ``seconds``.

    Without ``strict_time_limit``, a slow network gets more.

    Raises:
        ProfileError: If it cannot be read, is of another network or batch size, or networks or time are too few.
        NoiseError: If other work spoils what is measured here, unless ``allow_noisy``.
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
    if not allow_noisy and (spoiled := spoiled_reason(LatencyModel(taken, network))) is not None:
        raise too_noisy(spoiled)
    return with_step(taken, config)


def too_noisy(how: str) -> NoiseError:
    """Return the error that says how noise shows, and what to do."""
    return NoiseError(
        f"the machine is too noisy to measure: {how}; stop other programs, or leave them cores with a lower --threads, "
        "and run the same again; nothing spoiled was kept"
    )


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
        return setting_for(config, device, config.layout)
    with reporter.stage("choose layout"):
        found = fastest_layout(
            network,
            lambda layout: setting_for(config, device, layout),
            hard_limit_s=hard_limit_s,
            instruments=instruments,
        )
    return setting_for(config, device, found)
