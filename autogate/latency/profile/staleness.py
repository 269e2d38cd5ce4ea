"""Use a profile of other library versions all the same: some of its networks are measured again first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autogate.errors import ProfileError
from autogate.latency.model import check_profile_matches, cut_into_units, upper_residual
from autogate.latency.profile.plan import PlannedNetwork
from autogate.latency.profile.timed_networks import time_networks
from autogate.policy import Policy
from autogate.records import MEASURED, MIXED, Profile
from autogate.sites import Network

_NETWORKS = 8
_SECONDS = 10.0


@dataclass(frozen=True)
class Staleness:
    """How times of today deviate from those of a profile.

    Attributes:
        slowdown: Median of today's time over the profile's.
        error: By which share a network deviates further, with a probability of 5 % at most.
    """

    slowdown: float
    error: float


def revalidate(
    profile: Profile,
    network: Network,
    *,
    seconds: float = _SECONDS,
    progress: Callable[[float, str], None] | None = None,
) -> Staleness:
    """Measure networks of a profile again, from its lightest to its heaviest.

    Raises:
        ProfileError: If the profile is of another network, or does not say how its networks ran, as those of older
            versions.
    """
    units = cut_into_units(network)
    check_profile_matches(profile, network, units)
    known = sorted((sample for sample in profile.networks if sample.phase == MIXED), key=lambda sample: sample.ms)
    if not profile.forms:
        raise ProfileError("this profile does not say how its networks ran; profile again with `autogate profile`")
    chosen = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, _NETWORKS).round().astype(int))]
    plan = [PlannedNetwork(Policy.from_json(one.policy), one.decisions, one.executors) for one in chosen]
    found = time_networks(network, units, plan, profile.setting, seconds=seconds, phase=MEASURED, progress=progress)
    logs = np.array([math.log(now.ms / then.ms) for now, then in zip(found.networks, chosen, strict=True)])
    middle = float(np.median(logs))
    return Staleness(math.exp(middle), max(0.0, math.expm1(upper_residual(logs - middle))))
