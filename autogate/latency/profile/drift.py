"""How the device's speed differs from the time of the profile: a quick check, and a revalidation of a profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autogate.errors import ProfileError
from autogate.latency.hardware import exclusive_inference
from autogate.latency.model import LatencyModel, check_profile_matches, cut_into_units, upper_residual
from autogate.latency.profile.plan import PlannedNetwork
from autogate.latency.profile.timed_networks import time_networks
from autogate.latency.timing import WARM_UP_S, interleave, prepare, quiet_passes, random_input, stationary, timed
from autogate.policy import DENSE, Policy
from autogate.records import MEASURED, MIXED, Profile
from autogate.sites import Network
from autogate.surgery import compact_form

_CHECK_SECONDS = 3.0
_MIN_ROUNDS = 15
_REVALIDATED_NETWORKS = 8
_REVALIDATION_SECONDS = 10.0


def drift_check(model: LatencyModel, *, seconds: float = _CHECK_SECONDS) -> float:
    """Return the dense network's latency now over its predicted latency, from so many seconds of running it."""
    setting = model.profile.setting
    form = prepare(compact_form(model.network, DENSE, {}), setting)
    run = timed(form, random_input(model.network.input_shape, setting), setting)
    with exclusive_inference(setting):
        passes = interleave([run], seconds=seconds, warm_up_s=WARM_UP_S, min_rounds=_MIN_ROUNDS)
    kept = stationary(passes.ms, passes.groups, quiet=quiet_passes(passes.ms)).kept
    return float(np.median(passes.ms[kept])) / model.dense_ms


def drift_networks(model: LatencyModel, count: int) -> list[PlannedNetwork]:
    """Return up to ``count`` gated networks of the profile, to be run in turns with networks that are measured."""
    known = [sample for sample in model.profile.networks[1:] if sample.phase == MIXED]
    return [PlannedNetwork(Policy.from_json(one.policy), one.decisions, one.executors) for one in known[:count]]


def slowdown_of(model: LatencyModel, among: Sequence[PlannedNetwork], now_ms: np.ndarray) -> float:
    """Return by which factor canaries are slower now than predicted, as the median over them.

    Args:
        model: The latency model.
        among: The canaries.
        now_ms: What each takes now, in milliseconds, float64 ``[drift_networks]``.
    """
    sites, batch_size = model.network.sites, model.profile.setting.batch_size
    predicted_ms = [model.predict(one.policy, one.realisation(sites, batch_size)).p50 for one in among]
    return float(np.median(now_ms / np.array(predicted_ms)))


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
    seconds: float = _REVALIDATION_SECONDS,
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
    chosen = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, _REVALIDATED_NETWORKS).round().astype(int))]
    plan = [PlannedNetwork(Policy.from_json(one.policy), one.decisions, one.executors) for one in chosen]
    found = time_networks(network, units, plan, profile.setting, seconds=seconds, phase=MEASURED, progress=progress)
    logs = np.array([math.log(now.ms / then.ms) for now, then in zip(found.networks, chosen, strict=True)])
    middle = float(np.median(logs))
    return Staleness(math.exp(middle), max(0.0, math.expm1(upper_residual(logs - middle))))
