"""Carry a profile over to another device that has measured a few networks only."""

from __future__ import annotations

import copy
import datetime
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autogate.errors import ProfileError
from autogate.latency.model import REMOVED, LatencyModel
from autogate.latency.profile.checkpoint import ProfileCheckpoint
from autogate.latency.profile.instruments import REAL, Instruments
from autogate.latency.profile.phases import Phases, Progress, TimeLimit
from autogate.latency.profile.plan import PlannedNetwork, plan_networks
from autogate.latency.profile.profile_file import profile_digest
from autogate.records import MIXED, Profile, Setting, UnitSample
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.system import HostLoad

_CARD_SECONDS = 5.0
_CARD_SHARE = 0.1
_SECONDS_PER_NETWORK = 2.0
_WIDTH = 0.01
NOT_HERE = -1
"""Network of unit samples that come from another device."""


def transfer_profile(
    profile: Profile,
    network: Network,
    space: BoundSpace,
    setting: Setting,
    *,
    networks: int = 20,
    seconds: float = 40.0,
    seed: int = 0,
    progress: Progress | None = None,
    elapsed_s: float = 0.0,
    strict_time_limit: bool = True,
    instruments: Instruments = REAL,
) -> Profile:
    """Return a profile of the device at hand from another device's, and ``networks`` networks measured here.

    Unit forms that are seen here take what they take here; the others take what they took there, times what units of
    the same type, with gates of the same families where any were seen, take longer here.

    Args:
        profile: Of the same network on the other device.
        network: The network; its weights do not matter.
        space: The gates to cover.
        setting: How to run here; the batch size must be the profile's.
        networks: How many to measure; fewer if they do not fit into the time.
        seconds: Time to spend at most; two seconds for each network are enough.
        seed: Seed of their choice and of the order of passes.
        progress: Called with a fraction in [0, 1] and what is going on.
        elapsed_s: How much of the time is already gone, in seconds.
        strict_time_limit: Whether ``seconds`` may not be exceeded, however slow the network is.
        instruments: What to measure with.

    Raises:
        ProfileError: If the profile is of another network or batch size, or the time is too short.
    """
    begun, load = instruments.clock() - elapsed_s, HostLoad()
    if setting.batch_size != profile.setting.batch_size:
        raise ProfileError(
            f"the profile to transfer was made with batch size {profile.setting.batch_size}, not {setting.batch_size}; "
            "take one of that size"
        )
    there = LatencyModel(profile, network)

    def there_ms(one: PlannedNetwork) -> float:
        return there.predict(one.policy, one.realisation(network.sites, setting.batch_size)).p50

    plan = plan_networks(
        space,
        network.sites,
        there.units,
        setting,
        count=networks,
        seed=seed,
        executors=there.plan,
        rough_ms=there_ms,
    )
    card = instruments.take_card(setting, seconds=min(_CARD_SECONDS, _CARD_SHARE * seconds))
    phases = Phases(
        replace(network, model=copy.deepcopy(network.model)),
        there.units,
        setting,
        ProfileCheckpoint(None, ""),
        TimeLimit(seconds, instruments.clock() - begun, strict_time_limit),
        seed=seed,
        progress=progress,
        instruments=instruments,
    )
    # How much faster or slower this device is, the dense network tells first.
    left_s = phases.left_s()
    here = phases.run(
        MIXED, plan, min(left_s, _SECONDS_PER_NETWORK * networks), _WIDTH, hard_limit_s=left_s, rough_ms=there_ms
    )
    method = {
        "transferred_from": {"digest": profile_digest(profile), "setting": profile.setting.to_json()},
        "networks_measured": len(here.networks),
        **phases.watched,
        **load.facts(),
        "seconds": round(phases.elapsed_s(), 1),
    }
    few = Profile(
        setting,
        card,
        profile.model,
        profile.input_shape,
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tuple(here.units),
        tuple(here.networks),
        method,
        tuple(here.forms),
    )
    return completed(few, profile)


def completed(few: Profile, there: Profile) -> Profile:
    """Return the profile of a few networks, with the unit forms that only another device's profile knows."""
    forms = {form.key: form for form in (*there.forms, *few.forms)}
    return replace(few, units=(*few.units, *carried_over(there.units, few.units)), forms=tuple(forms.values()))


def carried_over(there: Sequence[UnitSample], here: Sequence[UnitSample]) -> list[UnitSample]:
    """Return a sample of every unit form that was seen there and not here, as it would be here."""
    there_ms, here_ms = _medians(there), _medians(here)
    slower: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for key in there_ms.keys() & here_ms.keys():
        # A block that is left out may take no time at all, and says nothing of how fast a device is.
        if here_ms[key] > 0 and there_ms[key] > 0:
            ratio = math.log(here_ms[key] / there_ms[key])
            for alike in _likenesses(key):
                slower[alike].append(ratio)
    carried = []
    for key, ms in there_ms.items():
        if key not in here_ms:
            ratios = next(slower[alike] for alike in _likenesses(key) if alike in slower)
            carried.append(UnitSample(key, ms * math.exp(float(np.median(ratios))), 0.0, 0, NOT_HERE))
    return carried


def _likenesses(key: str) -> list[tuple[str, ...]]:
    """Return what a form is, from the closest likeness to none: unit and families, unit, families, anything."""
    unit, *parts = key.split("|")
    families = tuple(sorted({part.split(":", 1)[1].split("(", 1)[0] for part in parts}))
    return list(dict.fromkeys([(unit, *families), (unit,), ("any", *families), ("any",)]))


def _medians(samples: Sequence[UnitSample]) -> Mapping[str, float]:
    times: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if sample.key != REMOVED:
            times[sample.key].append(sample.ms)
    return {key: float(np.median(values)) for key, values in times.items()}
