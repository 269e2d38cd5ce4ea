"""Choose the gated networks that a profile runs, so that every unit is seen in every form."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from autogate.gates import get_family
from autogate.latency.units import Unit, keys_of
from autogate.policy import DENSE, Gate, Policy
from autogate.records import ExecutionPlan, Site
from autogate.space.bound import DENSE_CHOICE, BoundSpace
from autogate.surgery import canonical

_DENSE_SHARE = 0.5
_ATTEMPTS = 40
_LEAST_SHARE = 0.1
_GOLDEN = 0.618


@dataclass(frozen=True)
class PlannedNetwork:
    """One network of a profile: a policy, the decisions its varying gates are told to take, and planned executors."""

    policy: Policy
    decisions: Mapping[str, int | None]
    executors: ExecutionPlan = field(default_factory=dict)


def plan_alone(
    space: BoundSpace, sites: Mapping[str, Site], units: tuple[Unit, ...], batch_size: int, *, captured: bool = False
) -> list[PlannedNetwork]:
    """Return the dense network, and networks that show every gate, decision and executor alone in each unit it changes.

    A network holds one gate at many sites; sites that change the same unit take turns, unless they are tied groups.
    Networks to be ``captured`` as CUDA graphs have no executor that waits for data.
    """
    places: dict[tuple[Gate, str], dict[tuple[str, ...], None]] = {}
    for site, gate in space.gates():
        where = places.setdefault((get_family(gate.family).runs_as(gate), sites[site].kind), {})
        where[tuple(space.alone(site, gate))] = None
    chosen = [PlannedNetwork(DENSE, {})]
    for (gate, _), where in places.items():
        family = get_family(gate.family)
        for turn in _turns(where, units):
            policy = canonical(Policy(dict.fromkeys(turn, gate)), sites)
            ladders = {site: family.decisions(sites[site], gate, batch_size) for site in policy.gates}
            steps = max((len(ladder) for ladder in ladders.values()), default=0)
            for step in range(steps):
                decisions = {site: ladder[min(step, len(ladder) - 1)] for site, ladder in ladders.items()}
                chosen.append(PlannedNetwork(policy, decisions))
            left_out = family.waiting_executors if captured else ()
            ways = {
                site: [name for name in family.executors(sites[site], gate, batch_size)[1:] if name not in left_out]
                for site, gate in policy
            }
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
    batch_size: int,
    *,
    count: int,
    seed: int,
    executors: Callable[[Policy], ExecutionPlan] = lambda policy: {},
) -> list[PlannedNetwork]:
    """Return the dense network and ``count - 1`` gated ones, with the executors that are asked for.

    Each is the one, among some random ones, that shows the most unit forms seen least so far; the density
    of gates varies evenly from network to network, so that there are light and heavy ones.
    """
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    chosen = [PlannedNetwork(DENSE, {})]
    seen.update(keys_of(units, DENSE, {}))
    while len(chosen) < count:
        share = _LEAST_SHARE + (1 - _LEAST_SHARE) * (len(chosen) * _GOLDEN % 1)
        candidates = [random_network(space, sites, batch_size, rng, share) for _ in range(_ATTEMPTS)]
        candidates = [replace(c, executors=executors(c.policy)) for c in candidates]
        best = max(candidates, key=lambda c: sum(1 / (1 + seen[k]) ** 2 for k in set(_keys(units, c))))
        seen.update(_keys(units, best))
        chosen.append(best)
    return chosen


def _keys(units: tuple[Unit, ...], network: PlannedNetwork) -> tuple[str, ...]:
    return keys_of(units, network.policy, network.decisions, network.executors)


def random_network(
    space: BoundSpace, sites: Mapping[str, Site], batch_size: int, rng: random.Random, share: float
) -> PlannedNetwork:
    """Draw a network with gates at about a ``share`` of its blocks, and there, or among its maps, random ones."""
    dense_blocks = rng.random() < _DENSE_SHARE

    def pick(choices: tuple[str, ...], kind: str) -> str:
        gated = [choice for choice in choices if choice != DENSE_CHOICE]
        stays = rng.random() >= (share if kind == "block" or not dense_blocks else 1 - share / 2)
        return DENSE_CHOICE if stays or not gated else rng.choice(gated)

    choices = {d.name: pick(d.choices, d.kind) for d in space.decisions if len(d.choices) > 1}
    policy = canonical(space.policy(choices), sites)
    decisions = {}
    for site, gate in policy:
        options = get_family(gate.family).decisions(sites[site], gate, batch_size)
        decisions[site] = rng.choice(options)
    return PlannedNetwork(Policy(policy.gates), decisions)
