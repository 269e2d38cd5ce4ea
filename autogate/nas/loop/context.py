"""Everything between a configuration and the first trial: what a search works with, found out once per run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from autogate.errors import LatencyInfeasibleError, MemoryInfeasibleError, SpaceError
from autogate.goals import Objective, binds
from autogate.latency.model import VERSION, LatencyModel
from autogate.latency.profile import revalidate, samples_of_rows
from autogate.nas.evaluating import CandidateMemory, rescore_trials, smallest_choices
from autogate.nas.profiles import keep_profile, profile_for, searched_space
from autogate.nas.proposing import paying_gates
from autogate.policy import Gate, Policy
from autogate.records import Profile, StudyFacts, TargetFacts
from autogate.runtimes import get_runtime
from autogate.sites import Network
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.studies import StudyRun
from autogate.surgery import canonical
from autogate.units import in_mib

_WORTH_SAYING = 0.03


@dataclass(frozen=True)
class SearchContext:
    """What a search works with, known before any training.

    Attributes:
        run: The study, its configuration and its facts.
        target: The device searched for.
        latency: The latency model of that device.
        space: The gates that can pay on it.
        fastest: The fastest policy of the space, by prediction.
        objective: What the search is after.
        memory: Peak memory of candidates on the target; None where that is another device, or another process.
        smallest: Under a memory budget, the choices with the lowest peak memory found.
    """

    run: StudyRun
    target: TargetFacts
    latency: LatencyModel
    space: BoundSpace
    fastest: Policy
    objective: Objective
    memory: CandidateMemory | None = None
    smallest: Mapping[str, str] | None = None

    @property
    def smallest_policy(self) -> Policy | None:
        """The policy of the smallest choices."""
        if self.smallest is None:
            return None
        return canonical(self.space.policy(self.smallest), self.latency.network.sites)


def prepare_search(run: StudyRun, network: Network, device: torch.device) -> SearchContext:
    """Bind the space, get a latency model, and take out what cannot pay; nothing is trained, and no fact is changed.

    Args:
        run: The study, or one that is only asked about.
        network: The traced network.
        device: The target device.

    Raises:
        SpaceError: If the space does not fit the network.
        ProfileError: If a named profile does not fit the network.
        NoiseError: If other work spoils every measurement.
    """
    config, reporter = run.config, run.reporter
    space = bind(parse_space(config.space, "the search space"), network.sites)
    found = profile_for(run, network, searched_space(config, network), device)
    before = run.facts.target if found.origin == "study" else None
    # A stored profile keeps its digest, even if this version would write it differently.
    profile = keep_profile(run.store, found.profile) if before is None else before.profile
    slowdown, stale_error = found.slowdown, None if before is None else before.stale_error
    if found.stale and stale_error is None:
        with reporter.stage("measure again"):
            since = revalidate(found.profile, network, progress=reporter.progress)
        slowdown, stale_error = since.slowdown, since.error
    if not found.foreign and slowdown is not None and abs(slowdown - 1) > _WORTH_SAYING:
        than_then = "slower" if slowdown > 1 else "faster"
        reporter.note(
            f"the device is {abs(slowdown - 1):.1%} {than_then} than when profiled; predictions are scaled accordingly"
        )
    latency = _latency_model(found.profile, network, slowdown, stale_error, foreign=found.foreign)
    left, reasons = paying_gates(space, latency)
    objective = Objective.of(config, latency.dense_ms)
    memory, smallest = None, None
    fastest = fastest_policy(left, latency)
    if not found.foreign and not get_runtime(latency.profile.setting.runtime).isolated:
        with reporter.stage("observe memory"):
            memory = CandidateMemory(latency, config.budgets.memory)
            smallest = None if config.budgets.memory is None else smallest_choices(left, latency, memory)
    binding = binds(config.budgets, latency.dense_ms, None if memory is None else memory.dense_bytes)
    target = TargetFacts(
        profile=profile,
        latency_model=VERSION,
        foreign=found.foreign,
        setting=latency.profile.setting,
        dense_latency_ms=latency.dense_ms,
        slowdown=slowdown,
        stale_error=stale_error,
        unpaying_gates=tuple(reasons),
        budget_ms=objective.limit_ms,
        budget_binding=binding,
    )
    return SearchContext(run, target, latency, left, fastest, objective, memory, smallest)


def begin_search(context: SearchContext) -> None:
    """Refuse a budget that nothing can meet; then store what is known of the target.

    Of a study that goes on, candidates are judged again where its profile or the latency model changed.

    Raises:
        SpaceError: If no gate of the space runs faster than dense on the target.
        BudgetInfeasibleError: If no policy meets the budget of latency or memory.
    """
    run, target, before = context.run, context.target, context.run.facts.target
    for line in target.unpaying_gates:
        run.reporter.note(f"left out: {line}")
    check_feasible(context)
    if not target.budget_binding:
        run.reporter.note("dense meets this budget already; the fastest policy of equal accuracy is looked for")
    same = (target.profile, target.latency_model)
    if run.is_stored and (before is None or (before.profile, before.latency_model) != same):
        with run.reporter.stage("predict anew"):
            rescore_trials(run, target, context.latency, context.objective, context.memory)
    # What was measured of candidates is on the scale of the profile.
    known = run.facts.measured_candidates if before is None or before.profile == target.profile else ()
    run.update(lambda facts: replace(facts, target=target, measured_candidates=known, ended=False))


def study_latency(profile: Profile, network: Network, facts: StudyFacts | None) -> LatencyModel:
    """Return the latency model of a study's device: as fast as the study found it, and with what it measured.

    Args:
        profile: The profile.
        network: The traced network.
        facts: Facts of the study; None for the device as it was when it was profiled.
    """
    target = None if facts is None else facts.target
    if facts is None or target is None:
        return LatencyModel(profile, network)
    latency = _latency_model(profile, network, target.slowdown, target.stale_error, foreign=False)
    learn_measured_candidates(latency, facts)
    return latency


def learn_measured_candidates(latency: LatencyModel, facts: StudyFacts) -> None:
    """Let a latency model learn from the candidates that its study measured before training them."""
    rows = [row for candidate in facts.measured_candidates for row in candidate.rows]
    if rows:
        latency.learn(*samples_of_rows(rows))


def _latency_model(
    profile: Profile, network: Network, slowdown: float | None, stale_error: float | None, *, foreign: bool
) -> LatencyModel:
    if foreign:
        return LatencyModel(profile, network)
    return LatencyModel(profile, network, slowdown=slowdown or 1.0, stale_error=stale_error or 0.0)


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


def check_feasible(context: SearchContext) -> None:
    """Refuse a budget that no policy can meet, and a space in which nothing pays.

    Raises:
        LatencyInfeasibleError: With the fastest reachable latency.
        MemoryInfeasibleError: With the smallest reachable peak memory.
        SpaceError: If no gate of the space runs faster than dense on this device.
    """
    _check_memory(context)
    objective, latency = context.objective, context.latency
    if objective.limit_ms is None or objective.limit_ms > latency.dense_ms:
        if not context.space.gates():
            why = f": {'; '.join(context.target.unpaying_gates)}" if context.target.unpaying_gates else ""
            raise SpaceError(f"no gate of this space runs faster than dense on this device{why}; try another --space")
        return
    fastest = latency.fastest(context.fastest)
    if not objective.fits(fastest):
        dense_ms = latency.dense_ms
        raise LatencyInfeasibleError(
            f"no policy meets {objective.limit_ms:.3f} ms: the fastest reachable is predicted at "
            f"{fastest.p50:.3f} ms, at most {fastest.upper(objective.stat):.3f} ms ({fastest.p50 / dense_ms:.0%} of "
            f"dense, {dense_ms:.3f} ms); "
            "raise --latency-budget or widen --space",
            fastest_ms=fastest.p50,
            budget_ms=objective.limit_ms,
        )


def _check_memory(context: SearchContext) -> None:
    if (smallest := context.smallest_policy) is None or context.memory is None or context.memory.limit_bytes is None:
        return
    if not context.memory.fits(smallest):
        limit_bytes, dense_bytes = context.memory.limit_bytes, context.memory.dense_bytes
        peak_bytes = context.memory.peak_bytes(smallest)
        raise MemoryInfeasibleError(
            f"no policy meets {in_mib(limit_bytes)}: the smallest peak memory reachable is {in_mib(peak_bytes)} "
            f"({peak_bytes / dense_bytes:.0%} of dense, {in_mib(dense_bytes)}); raise --memory-budget, widen --space "
            "or lower --batch-size",
            smallest_bytes=peak_bytes,
            budget_bytes=limit_bytes,
        )
