"""Choose the gated networks that a profile runs, so that every unit is seen in every form."""

from __future__ import annotations

import bisect
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from autogate.gates import get_family
from autogate.latency.model import Unit, keys_of, timed_decisions
from autogate.policy import DENSE, Gate, Policy
from autogate.records import ExecutionPlan, Realisation, Setting, Site
from autogate.space.bound import DENSE_CHOICE, BoundSpace, Decision
from autogate.surgery import canonical

_DENSE_SHARE = 0.5
_FAVOURITE_SHARE = 0.25
_DRAWS = 40
_MOST_DRAWS = 1000
_LEAST_SHARE = 0.1
_GOLDEN = 0.618
_HEAVIEST = 1.1


DecisionsOf = Callable[[Site, Gate], Sequence[int | None]]


@dataclass(frozen=True)
class PlannedNetwork:
    """One network of a profile: a policy, the decisions its varying gates take, and the kernels that run its gates."""

    policy: Policy
    decisions: Mapping[str, int | None]
    executors: ExecutionPlan = field(default_factory=dict)

    def realisation(self, sites: Mapping[str, Site], batch_size: int) -> Realisation:
        """Return the decisions as if the images of one batch had made them."""
        decided = {site: kept for site, kept in self.decisions.items() if kept is not None}
        return Realisation(
            {
                site: (1,) * kept + (0,) * (batch_size - kept) if sites[site].kind == "block" else (kept,)
                for site, kept in decided.items()
            }
        )


def plan_alone(
    space: BoundSpace, sites: Mapping[str, Site], units: tuple[Unit, ...], setting: Setting, *, captured: bool = False
) -> list[PlannedNetwork]:
    """Return the dense network, and networks that show every gate, decision and executor alone in each unit it changes.

    A network holds one gate at many sites; sites that change the same unit take turns, unless they are tied groups.
    Networks to be ``captured`` as CUDA graphs have no executor that waits for data.
    """
    places: dict[tuple[Gate, str], dict[tuple[str, ...], None]] = {}
    for site, gate in space.gates():
        where = places.setdefault((get_family(gate.family).profile_alias(gate), sites[site].kind), {})
        where[tuple(space.alone(site, gate))] = None
    chosen = [PlannedNetwork(DENSE, {})]
    for (gate, _), where in places.items():
        family = get_family(gate.family)
        for turn in _turns(where, units):
            policy = canonical(Policy(dict.fromkeys(turn, gate)), sites)
            ladders = {site: timed_decisions(sites[site], gate, setting) for site in policy.gates}
            steps = max((len(ladder) for ladder in ladders.values()), default=0)
            for step in range(steps):
                decisions = {site: ladder[min(step, len(ladder) - 1)] for site, ladder in ladders.items()}
                chosen.append(PlannedNetwork(policy, decisions))
            left_out = family.waiting_executors if captured else ()
            known = {site: family.executors(sites[site], gate, setting.batch_size)[1:] for site, gate in policy}
            ways = {site: [name for name in names if name not in left_out] for site, names in known.items()}
            for i in range(max(map(len, ways.values()), default=0)):
                other = {site: names[i] for site, names in ways.items() if i < len(names)}
                chosen.append(PlannedNetwork(policy, {}, other))
    return chosen


def _turns(where: Iterable[tuple[str, ...]], units: tuple[Unit, ...]) -> list[list[str]]:
    """Divide sites that stay together into lists within which no unit is changed by two of them."""
    turns: list[tuple[list[str], set[int]]] = []
    for together in where:
        changed = {unit.index for unit in units if not set(together).isdisjoint(unit.sites)}
        free = next((turn for turn in turns if not turn[1] & changed), None)
        if free is None:
            turns.append(free := ([], set()))
        free[0].extend(together)
        free[1].update(changed)
    return [names for names, _ in turns]


def plan_networks(
    space: BoundSpace,
    sites: Mapping[str, Site],
    units: tuple[Unit, ...],
    setting: Setting,
    *,
    count: int,
    seed: int,
    rough_ms: Callable[[PlannedNetwork], float],
    executors: Callable[[Policy], ExecutionPlan] = lambda policy: {},
) -> list[PlannedNetwork]:
    """Return the dense network and ``count - 1`` gated ones, with the executors that are asked for.

    They lie evenly from the lightest that is drawn to dense, so that what is fitted to them holds for all. Each but the
    lightest is the one, among those of about its latency, that shows the most unit forms seen least so far.

    Args:
        space: The gates.
        sites: The network's sites.
        units: Its units.
        setting: How they will run.
        count: How many networks.
        seed: Seed of the draws.
        rough_ms: About what a network takes, in milliseconds; only the order matters.
        executors: Which executors run a policy.
    """
    rng = random.Random(seed)
    decisions_of = partial(timed_decisions, setting=setting)
    pool = []
    for _ in range(min(_MOST_DRAWS, _DRAWS * count)):
        drawn = random_network(space, sites, decisions_of, rng, rng.uniform(_LEAST_SHARE, 1.0))
        pool.append(replace(drawn, executors=executors(drawn.policy)))
    rough = [rough_ms(network) for network in pool]
    order = sorted(range(len(pool)), key=rough.__getitem__)
    pool, times = [pool[i] for i in order], [rough[i] for i in order]
    # No search delivers what is slower than dense.
    heaviest = min(times[-1], _HEAVIEST * rough_ms(PlannedNetwork(DENSE, {})))
    seen: Counter[str] = Counter(keys_of(units, DENSE, {}))
    chosen = [PlannedNetwork(DENSE, {})]
    for i in range(1, count):
        # The golden ratio spreads any number of targets evenly, and neighbours far apart.
        target = times[0] + (heaviest - times[0]) * (i * _GOLDEN % 1)
        middle = bisect.bisect_left(times, target)
        nearby = range(max(0, middle - _DRAWS // 4), min(len(pool), middle + _DRAWS // 4 + 1)) if i > 1 else (0,)
        best = max(nearby, key=lambda n: sum(1 / (1 + seen[key]) ** 2 for key in set(_keys(units, pool[n]))))
        seen.update(_keys(units, pool[best]))
        chosen.append(pool.pop(best))
        times.pop(best)
    return chosen


def _keys(units: tuple[Unit, ...], network: PlannedNetwork) -> tuple[str, ...]:
    return keys_of(units, network.policy, network.decisions, network.executors)


def random_network(
    space: BoundSpace, sites: Mapping[str, Site], decisions_of: DecisionsOf, rng: random.Random, share: float
) -> PlannedNetwork:
    """Draw a network with gates at about a ``share`` of its blocks, and there, or among its maps, random ones.

    ``decisions_of`` a gate at a site are those that it may take.

    Some networks are of one family in one form wherever it stands: only so are the lightest ones drawn.
    """
    dense_blocks = rng.random() < _DENSE_SHARE
    families = sorted({gate.family for _, gate in space.gates()})
    favourite = rng.choice(families) if families and rng.random() < _FAVOURITE_SHARE else None
    form = rng.random()

    def pick(decision: Decision) -> str:
        gated = [choice for choice in decision.choices if choice != DENSE_CHOICE]
        liked = [c for c in gated if {gate.family for gate in decision.options[c].values()} == {favourite}]
        stays = rng.random() >= (share if decision.kind == "block" or not dense_blocks else 1 - share / 2)
        if stays or not gated:
            return DENSE_CHOICE
        return liked[int(form * len(liked))] if liked else rng.choice(gated)

    choices = {decision.name: pick(decision) for decision in space.decisions if len(decision.choices) > 1}
    policy = canonical(space.policy(choices), sites)
    decisions = {}
    for site, gate in policy:
        decisions[site] = rng.choice(decisions_of(sites[site], gate))
    return PlannedNetwork(Policy(policy.gates), decisions)
