"""Everything between a configuration and the first trial; each step is done once per study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from autogate.errors import LatencyInfeasibleError, MemoryInfeasibleError, SpaceError
from autogate.goals import Objective, SearchConfig
from autogate.latency.model import LatencyModel
from autogate.latency.profile import drift_check, revalidate
from autogate.nas.evaluating import CandidateMemory, smallest_choices
from autogate.nas.profiles import keep_profile, profile_for, searched_space
from autogate.nas.proposing import paying_gates
from autogate.policy import Gate, Policy
from autogate.records import Profile
from autogate.sites import Network
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.store import Store
from autogate.studies import Reporter
from autogate.surgery import canonical
from autogate.units import in_mib

_WORTH_SAYING = 0.03


@dataclass
class Ground:
    """What is known before any training.

    Attributes:
        latency: The latency model of the target.
        profile_digest: Identity of the profile behind it.
        foreign: Whether the profile was named by the user; results then stay predicted.
        space: The gates that can pay on the target.
        unpaying: Why the others cannot, one line per gate.
        fastest: The fastest policy of the space, by prediction.
        memory: Peak memory of candidates on the target; None where that is another device.
        smallest: Under a memory budget, the choices with the lowest peak memory found.
    """

    latency: LatencyModel
    profile_digest: str
    foreign: bool
    space: BoundSpace
    unpaying: list[str]
    fastest: Policy
    memory: CandidateMemory | None = None
    smallest: Mapping[str, str] | None = None

    @property
    def smallest_policy(self) -> Policy | None:
        """The policy of the smallest choices."""
        if self.smallest is None:
            return None
        return canonical(self.space.policy(self.smallest), self.latency.network.sites)


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
        facts: Facts of the study; ``profile``, ``slowdown`` and ``stale_error`` are used if there, and set.
        reporter: Hears of progress.

    Raises:
        SpaceError: If the space does not fit the network.
        ProfileError: If a named profile does not fit the network.
    """
    space = bind(parse_space(config.space, "the search space"), network.sites)
    fitting = searched_space(config, network)
    found = profile_for(config, network, fitting, device, store, facts, reporter)
    # What is stored keeps its identity, whatever this version would write.
    if store.profile(str(facts.get("profile"))) is None:
        facts["profile"] = keep_profile(store, found.profile)
    if found.stale and "stale_error" not in facts:
        with reporter.stage("measure again"):
            since = revalidate(found.profile, network, progress=reporter.progress)
        facts |= {"slowness": since.slowdown, "stale_error": since.error}
    elif not found.foreign and "slowness" not in facts:
        with reporter.stage("canary"):
            facts["slowness"] = drift_check(LatencyModel(found.profile, network))
    if not found.foreign and abs(facts["slowness"] - 1) > _WORTH_SAYING:
        change = facts["slowness"] - 1
        than_then = "slower" if change > 0 else "faster"
        reporter.note(
            f"the device is {abs(change):.1%} {than_then} than when profiled; predictions are scaled accordingly"
        )
    latency = study_latency(found.profile, network, {} if found.foreign else facts)
    left, reasons = paying_gates(space, latency)
    fastest = fastest_policy(left, latency)
    key = facts["profile"]
    if found.foreign:
        return Ground(latency, key, True, left, reasons, fastest)
    with reporter.stage("observe memory"):
        memory = CandidateMemory(latency, config.budgets.memory)
        smallest = None if config.budgets.memory is None else smallest_choices(left, latency, memory)
    return Ground(latency, key, False, left, reasons, fastest, memory, smallest)


def study_latency(profile: Profile, network: Network, facts: Mapping[str, Any]) -> LatencyModel:
    """Return the latency model of a study's device, as fast as the study found it to be."""
    return LatencyModel(
        profile, network, slowdown=facts.get("slowness", 1.0), stale_error=facts.get("stale_error", 0.0)
    )


def fastest_policy(space: BoundSpace, latency: LatencyModel) -> Policy:
    """Return the fastest policy found, by prediction: the best of several greedy ones.

    Taking the greatest saving at every decision is not always fastest, since a gate at a block leaves gates
    inside without effect; so blocks alone, maps alone and each family alone are tried too.
    """
    families = {gate.family for _, gate in space.gates()}
    kinds = {decision.kind for decision in space.decisions}

    def greedy(keep: Callable[[str, Gate], bool]) -> Policy:
        def saved(gates: Mapping[str, Gate]) -> float:
            return latency.coverage(gates).saved_ms

        part = space.restricted(keep)
        choices = {d.name: max(d.options, key=lambda choice: saved(d.options[choice])) for d in part.decisions}
        return Policy(canonical(part.policy(choices), latency.network.sites).gates)

    candidates = [greedy(lambda site, gate: True)]
    candidates += [greedy(lambda site, gate, kind=kind: latency.network.sites[site].kind == kind) for kind in kinds]  # type: ignore[misc]
    candidates += [greedy(lambda site, gate, family=family: gate.family == family) for family in families]  # type: ignore[misc]
    return min(candidates, key=lambda policy: latency.fastest(policy).p50)


def check_feasible(objective: Objective, ground: Ground) -> None:
    """Refuse a budget that no policy can meet, and a space in which nothing pays.

    Raises:
        LatencyInfeasibleError: With the fastest reachable latency.
        MemoryInfeasibleError: With the smallest reachable peak memory.
        SpaceError: If no gate of the space runs faster than dense on this device.
    """
    _check_memory(ground)
    if objective.limit_ms is None or objective.limit_ms > ground.latency.dense_ms:
        if not ground.space.gates():
            why = f": {'; '.join(ground.unpaying)}" if ground.unpaying else ""
            raise SpaceError(f"no gate of this space runs faster than dense on this device{why}; try another --space")
        return
    fastest = ground.latency.fastest(ground.fastest)
    if not objective.fits(fastest):
        dense_ms = ground.latency.dense_ms
        raise LatencyInfeasibleError(
            f"no policy meets {objective.limit_ms:.3f} ms: the fastest reachable is predicted at "
            f"{fastest.p50:.3f} ms, at most {fastest.upper(objective.stat):.3f} ms ({fastest.p50 / dense_ms:.0%} of "
            f"dense, {dense_ms:.3f} ms); "
            "raise --latency-budget or widen --space",
            fastest_ms=fastest.p50,
            budget_ms=objective.limit_ms,
        )


def _check_memory(ground: Ground) -> None:
    if (smallest := ground.smallest_policy) is None or ground.memory is None or ground.memory.limit_bytes is None:
        return
    if not ground.memory.fits(smallest):
        limit_bytes, dense_bytes = ground.memory.limit_bytes, ground.memory.dense_bytes
        peak_bytes = ground.memory.peak_bytes(smallest)
        raise MemoryInfeasibleError(
            f"no policy meets {in_mib(limit_bytes)}: the smallest peak memory reachable is {in_mib(peak_bytes)} "
            f"({peak_bytes / dense_bytes:.0%} of dense, {in_mib(dense_bytes)}); raise --memory-budget, widen --space "
            "or lower --batch-size",
            smallest_bytes=peak_bytes,
            budget_bytes=limit_bytes,
        )
