"""Which profile a search works with: the study's own, one that is named, one that is stored, or one taken now.

A profile that noise spoiled is neither kept nor used again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from autogate.errors import ProfileError
from autogate.latency.hardware import Patience, noise_sources_of
from autogate.latency.model import LatencyModel
from autogate.latency.profile import drift_check, is_plausible, nonsense_reason
from autogate.nas.profiles.profiles import is_foreign, may_be_stale, named_profile, setting_here
from autogate.nas.profiles.taking import QUICK_PROFILE_S, profile_network, too_noisy
from autogate.records import Profile
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.studies import StudyRun
from autogate.system import HostLoad

_LOOKS = 3


@dataclass(frozen=True)
class FoundProfile:
    """The profile to search with.

    Attributes:
        profile: The profile.
        origin: Where it is from: the study itself, a file that is named, the database, or this device just now.
        foreign: Whether it is another device's; results then stay predicted.
        stale: Whether it was made with other versions or modes of what runs the network.
        slowdown: By which factor the device is slower now than when it was profiled; None if that was not looked at.
    """

    profile: Profile
    origin: Literal["study", "named", "stored", "taken"]
    foreign: bool = False
    stale: bool = False
    slowdown: float | None = None


@dataclass(frozen=True)
class Measuring:
    """What is measured to have a profile; a simulated device brings others.

    Attributes:
        take: Profiles a network, as :func:`profile_network` does.
        slowdown: Looks how much slower the device runs dense than a latency model says.
        patience: Returns what waits for a quiet host between two looks.
    """

    take: Callable[..., Profile] = profile_network
    slowdown: Callable[[LatencyModel], float] = drift_check
    patience: Callable[[], Patience] = Patience


REAL = Measuring()


def profile_for(
    run: StudyRun, network: Network, space: BoundSpace, device: torch.device, measuring: Measuring = REAL
) -> FoundProfile:
    """Return the profile to search with, and how fast the device is now, unless the study knows.

    Args:
        run: The study.
        network: The traced network.
        space: The gates the profile must cover.
        device: The target device.
        measuring: What to measure with.

    Raises:
        ProfileError: If a named profile, or the study's own, was made in another setting.
        NoiseError: If the device is so noisy that no profile of it makes sense.
    """

    def taken() -> FoundProfile:
        # A search needs a profile, however slow the network is.
        args = (run.config, network, space, device, run.reporter, QUICK_PROFILE_S)
        return FoundProfile(measuring.take(*args, strict_time_limit=False), "taken")

    found = _known_profile(run, network, space, device) or taken()
    if found.foreign or found.stale or found.slowdown is not None:
        return found
    found = _looked_at(found, run, network, measuring)
    if found.origin in ("stored", "study") and not _makes_sense(found):
        run.reporter.info(f"dense takes {found.slowdown:.2f} times what the stored profile says: profiling anew")
        found = _looked_at(taken(), run, network, measuring)
    return found


def _known_profile(run: StudyRun, network: Network, space: BoundSpace, device: torch.device) -> FoundProfile | None:
    config = run.config
    if not config.fresh_profile and (own := _own_profile(run, network, device)) is not None:
        return own
    if config.profile is not None:
        named = named_profile(config, network)
        foreign = is_foreign(named, config, device)
        if (why := nonsense_reason(LatencyModel(named, network))) is not None:
            raise ProfileError(f"noise spoiled {config.profile} when it was taken: {why}; take it again on its device")
        return FoundProfile(named, "named", foreign, not foreign and not _agrees(named, run, device))
    return None if config.fresh_profile else _stored_profile(run, network, space, device)


def _own_profile(run: StudyRun, network: Network, device: torch.device) -> FoundProfile | None:
    """Return the profile that the study has worked with so far; None if there is none, or noise spoiled it."""
    target = run.facts.target
    profile = None if target is None else run.store.profile(target.profile)
    if target is None or profile is None:
        return None
    if target.foreign:
        return FoundProfile(profile, "study", foreign=True)
    if not _agrees(profile, run, device):
        here = setting_here(profile, run.config, device)
        stale = may_be_stale(profile, here, run.config, "the study")
        return FoundProfile(profile, "study", stale=stale, slowdown=target.slowdown)
    if (why := nonsense_reason(LatencyModel(profile, network))) is not None:
        run.reporter.info(f"noise spoiled the study's profile ({why}): profiling anew")
        return None
    return FoundProfile(profile, "study", slowdown=target.slowdown)


def _stored_profile(run: StudyRun, network: Network, space: BoundSpace, device: torch.device) -> FoundProfile | None:
    """Return the newest profile of the database that fits and makes sense; None if there is none."""
    for profile in run.store.profiles(run.config.model):
        laid_out = run.config.layout in ("auto", profile.setting.layout)
        if not (laid_out and profile.input_shape == network.input_shape and _agrees(profile, run, device)):
            continue
        if (latency := covering_model(profile, network, space)) is None:
            continue
        if (why := nonsense_reason(latency)) is not None:
            run.reporter.info(f"noise spoiled the profile of {profile.created_utc} ({why}): it is not used")
            continue
        run.reporter.info(f"using the profile of {profile.created_utc}")
        return FoundProfile(profile, "stored")
    return None


def _agrees(profile: Profile, run: StudyRun, device: torch.device) -> bool:
    return profile.setting.agrees_with(setting_here(profile, run.config, device))


def _looked_at(found: FoundProfile, run: StudyRun, network: Network, measuring: Measuring) -> FoundProfile:
    """Return the profile with what the dense network says of the device's speed now.

    What makes no sense is looked at again, as soon as the host is quieter.

    Raises:
        NoiseError: If a profile that was taken just now makes no sense any more.
    """
    latency, patience, load = LatencyModel(found.profile, network), measuring.patience(), HostLoad()
    with run.reporter.stage("canary"):
        for look in range(_LOOKS):
            if look:
                patience.wait(found.profile.setting, lambda text: run.reporter.progress(0.0, text))
            found = replace(found, slowdown=measuring.slowdown(latency))
            if _makes_sense(found):
                return found
    if found.origin == "taken":
        sources = noise_sources_of(found.profile.setting, load.facts())
        raise too_noisy(f"dense takes {found.slowdown:.2f} times what it took a moment ago ({sources})")
    return found


def _makes_sense(found: FoundProfile) -> bool:
    return found.slowdown is not None and is_plausible(found.slowdown)


def covering_model(profile: Profile, network: Network, space: BoundSpace) -> LatencyModel | None:
    """Return a latency model, if the profile was made of this network and holds every gate of the space; else None."""
    try:
        latency = LatencyModel(profile, network)
        for site, gate in space.gates():
            latency.coverage(space.alone(site, gate))
    except ProfileError:
        return None
    return latency
