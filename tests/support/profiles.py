"""Profiles made by hand, whose answers are known."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from autogate.gates import get_family
from autogate.goals import Objective
from autogate.latency.model import REMOVED, LatencyModel, Unit, cut_into_units, keys_of
from autogate.nas.loop import SearchContext, fastest_policy
from autogate.policy import DENSE, Gate, Policy
from autogate.records import DeviceCard, NetworkSample, Profile, Setting, TargetFacts, UnitSample
from autogate.sites import Network
from autogate.space.bound import BoundSpace
from autogate.surgery import canonical

SETTING = Setting("cpu", "a made-up processor", 1, "float32", "contiguous", 2, "eager", {"torch": "2.15"})
CARD = DeviceCard(2.0, 0.0, 10.0, {"float32": 0.1, "float16": 0.05, "bfloat16": 0.05}, {"L2": 2**20}, {"load": 0.0})


def base_ms(unit: Unit, units: tuple[Unit, ...]) -> float:
    """Time of a unit's dense form: 1.0, 1.1, 1.2, ... in the order in which the types appear."""
    types = list(dict.fromkeys(other.type for other in units))
    return 1.0 + 0.1 * types.index(unit.type)


def share(gate: Gate, decision: int | None) -> float:
    """What a gate leaves of its unit's time; between decisions it is not linear."""
    if gate.family == "drop":
        return 0.0
    if decision is not None:
        return 0.1 + 0.01 * float(decision**1.5)
    return 1.0 - 0.5 * float(gate.genes.get("ratio", 0.0)) - 0.25 * float(gate.genes.get("channel_ratio", 0.0))


def complete(network: Network, site: str, gate: Gate) -> Gate:
    return get_family(gate.family).complete(network.sites[site], gate)


def profile_of(
    network: Network,
    gates: Iterable[tuple[str, Gate]],
    *,
    batch_size: int = 1,
    offset_ms: float = 0.0,
    slope: float = 1.0,
    networks: int = 10,
    model: str = "resnet20",
    fast_executors: tuple[str, ...] = (),
) -> Profile:
    """Return a profile in which every unit takes ``base_ms``, times the share that a lone gate leaves.

    Whole networks take ``offset_ms + slope`` times the sum of their units. Executors other than the default take half
    as long if they are ``fast_executors``, else twice as long.
    """
    units = cut_into_units(network)
    known = {REMOVED: 0.0, **{unit.type: base_ms(unit, units) for unit in units}}
    places = [(site, complete(network, site, gate)) for site, gate in gates]
    for site, gate in places:
        for decision in get_family(gate.family).decisions(network.sites[site], gate, batch_size):
            for unit in units:
                if site in unit.sites and (key := unit.key({site: gate}, {site: decision})) != REMOVED:
                    region = unit.region({site: gate})
                    inside = [unit] if region is None else [units[i] for i in region.units]
                    known[key] = sum(base_ms(one, units) for one in inside) * share(gate, decision)
        for name in get_family(gate.family).executors(network.sites[site], gate, batch_size)[1:]:
            for unit in units:
                if site in unit.sites:
                    factor = 0.5 if name in fast_executors else 2.0
                    default = known[unit.key({site: gate}, {})]
                    known[unit.key({site: gate}, {}, {site: name})] = factor * default
    rng = random.Random(0)
    policies = [DENSE]
    static = [(site, gate) for site, gate in places if not get_family(gate.family).varies]
    while len(policies) < networks:
        chosen = dict(rng.sample(static, rng.randint(0, len(static)))) if static else {}
        policy = canonical(Policy(chosen), network.sites)
        if all(key in known for key in keys_of(units, policy, {})):
            policies.append(policy)
    samples = []
    for number, policy in enumerate(policies):
        keys = keys_of(units, policy, {})
        total = offset_ms + slope * sum(known[key] for key in keys)
        samples.append(NetworkSample(policy.to_json(), keys, total, 0.01, 10, number, macs=round(1e6 * total)))
    rows = tuple(
        UnitSample(key, ms, 0.01, 10, number) for key, ms in known.items() if key != REMOVED for number in (0, 1)
    )
    setting = Setting.from_json({**SETTING.to_json(), "batch_size": batch_size})
    return Profile(setting, CARD, model, network.input_shape, "2026-01-01T00:00:00+00:00", rows, tuple(samples))


def some_target(**changes: Any) -> TargetFacts:
    """Return what a study knows of its device, of which nothing matters but what is given."""
    plain = {
        "profile": "",
        "latency_model": "",
        "foreign": False,
        "setting": SETTING,
        "dense_latency_ms": 10.0,
        "slowdown": 1.0,
    }
    return TargetFacts(**{**plain, **changes})


def some_context(latency: LatencyModel, space: BoundSpace, objective: Objective, **known: Any) -> SearchContext:
    """Return what a search of ``space`` works with, outside any study."""
    target = some_target(dense_latency_ms=latency.dense_ms)
    run: Any = None
    return SearchContext(run, target, latency, space, fastest_policy(space, latency), objective, **known)
