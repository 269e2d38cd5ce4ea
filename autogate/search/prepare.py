"""Everything between a configuration and the first trial; each step is done once per study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autogate.errors import BudgetInfeasibleError, ProfileError
from autogate.gates import get_family
from autogate.latency import (
    LatencyModel,
    fastest_layout,
    from_lines,
    profile_digest,
    read_profile,
    setting_of,
    take_profile,
    to_lines,
)
from autogate.policy import Gate, Policy
from autogate.records import Profile, Setting
from autogate.search.config import SearchConfig
from autogate.search.objective import Objective
from autogate.search.proposals import paying
from autogate.search.reporter import Reporter
from autogate.sites import Network
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.store import Store
from autogate.surgery import canonical

QUICK_PROFILE_S = 40.0


@dataclass
class Ground:
    """What is known before any training.

    Attributes:
        latency: The latency model of the target.
        profile_digest: Identity of the profile behind it.
        foreign: Whether the profile was named by the user; results then stay predicted.
        space: The gates that can pay on the target.
        unpaying: Why the others cannot, one line per gate.
        lightest: The fastest policy of the space, by prediction.
    """

    latency: LatencyModel
    profile_digest: str
    foreign: bool
    space: BoundSpace
    unpaying: list[str]
    lightest: Policy


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


def prepare_ground(
    config: SearchConfig,
    network: Network,
    device: torch.device,
    store: Store,
    facts: dict[str, Any],
    reporter: Reporter,
) -> Ground:
    """Bind the space, get a latency model, and take out what cannot pay.

    Args:
        config: The search's configuration.
        network: The traced network.
        device: The target device.
        store: Where profiles are kept.
        facts: Facts of the study; ``profile`` is used if there, and set.
        reporter: Hears of progress.

    Raises:
        SpaceError: If the space does not fit the network.
        ProfileError: If a named profile does not fit the network.
    """
    space = bind(parse_space(config.space, "the study's space"), network.sites)
    fitting = space.restricted(
        lambda site, gate: get_family(gate.family).limits(network.sites[site], config.batch_size) is None
    )
    profile, foreign = _profile(config, network, fitting, device, store, facts, reporter)
    key = profile_digest(profile)
    store.add_profile(key, profile.model, profile.setting.to_json(), to_lines(profile))
    facts["profile"] = key
    latency = LatencyModel(profile, network)
    left, reasons = paying(space, latency, config.batch_size)
    return Ground(latency, key, foreign, left, reasons, lightest_policy(left, latency))


def _profile(
    config: SearchConfig,
    network: Network,
    space: BoundSpace,
    device: torch.device,
    store: Store,
    facts: dict[str, Any],
    reporter: Reporter,
) -> tuple[Profile, bool]:
    if config.profile is not None:
        named = read_profile(Path(config.profile))
        return named, bool(differences_here(named, config, device))
    stored = store.profile(str(facts.get("profile")))
    if stored is not None:
        profile = from_lines(stored, "the study's profile")
        if different := differences_here(profile, config, device):
            raise ProfileError(
                f"the study was profiled in another setting: {'; '.join(different)}; continue it there, or start "
                "another one here"
            )
        return profile, False
    setting = target_setting(config, network, device, reporter)
    for lines in store.profiles(config.model):
        profile = from_lines(lines, "a stored profile")
        if not profile.setting.differences(setting) and covers(profile, network, space):
            reporter.note(f"using the profile of {profile.created_utc}")
            return profile, False
    with reporter.stage("profile"):
        return take_profile(
            network, space, setting, model=config.model, seconds=QUICK_PROFILE_S, seed=config.seed,
            progress=reporter.progress,
        ), False  # fmt: skip


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
            latency.coverage(site, gate)
    except ProfileError:
        return False
    return True


def lightest_policy(space: BoundSpace, latency: LatencyModel) -> Policy:
    """Return the policy with the greatest predicted saving, at its lightest, at every decision."""

    def saved(gates: Mapping[str, Gate]) -> float:
        return sum(latency.coverage(site, gate).saved_ms for site, gate in gates.items())

    choices = {d.name: max(d.options, key=lambda choice: saved(d.options[choice])) for d in space.decisions}
    policy = canonical(space.policy(choices), latency.network.sites)
    return Policy(policy.gates)


def check_feasible(objective: Objective, ground: Ground) -> None:
    """Refuse a budget that no policy can meet.

    Raises:
        BudgetInfeasibleError: With the fastest reachable latency.
    """
    if objective.limit_ms is None:
        return
    fastest = ground.latency.lightest(ground.lightest)
    if fastest.stat(objective.stat) > objective.limit_ms:
        dense_ms = ground.latency.dense_ms
        raise BudgetInfeasibleError(
            f"no policy meets {objective.limit_ms:.3f} ms: the fastest reachable is predicted at "
            f"{fastest.p50:.3f} ms ({fastest.p50 / dense_ms:.0%} of dense, {dense_ms:.3f} ms); "
            "raise --latency-budget or widen --space",
            fastest_ms=fastest.p50, budget_ms=objective.limit_ms,
        )  # fmt: skip
