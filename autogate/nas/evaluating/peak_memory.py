"""Peak memory of candidates: observed before any training, since the values of weights do not matter."""

from __future__ import annotations

from collections.abc import Callable

import torch

from autogate.gates import get_family
from autogate.goals import MemoryBudget
from autogate.latency.model import LatencyModel
from autogate.policy import DENSE, Gate, Policy
from autogate.resources import paper_macs, peak_memory_bytes
from autogate.space.bound import BoundSpace
from autogate.surgery import attach_gates, canonical, compact_form

_MIB = 2**20


class CandidateMemory:
    """Observes the peak memory of policies on the target; each runs once.

    Args:
        latency: The latency model, which knows network, setting and executors.
        budget: The memory budget, if there is one.
    """

    def __init__(self, latency: LatencyModel, budget: MemoryBudget | None) -> None:
        self._latency = latency
        self._known: dict[str, int] = {}
        self._budget = budget

    @property
    def dense_bytes(self) -> int:
        """Peak of the dense network."""
        return self.peak_bytes(DENSE)

    @property
    def limit_bytes(self) -> float | None:
        """The budget in bytes."""
        return None if self._budget is None else self._budget.limit_bytes(self.dense_bytes)

    def peak_bytes(self, policy: Policy) -> int:
        """Return the peak of a canonical policy, with gates whose cost varies as far open as takes most memory."""
        key = policy.execution_digest
        if key not in self._known:
            network = self._latency.network
            with torch.random.fork_rng(devices=[]):  # new gates draw their weights
                gates = attach_gates(network, policy)
            compact = compact_form(network, policy, gates, plan=self._latency.plan(policy))
            self._known[key] = peak_memory_bytes(compact, policy, network, self._latency.profile.setting)
        return self._known[key]

    def excess_mib(self, policy: Policy) -> float:
        """Return by how many MiB the peak exceeds the budget; at most 0 if it fits, or there is no budget."""
        limit_bytes = self.limit_bytes
        return 0.0 if limit_bytes is None else (self.peak_bytes(policy) - limit_bytes) / _MIB

    def fits(self, policy: Policy) -> bool:
        """Whether the policy is within the budget; always, without one."""
        return self.excess_mib(policy) <= 0


def smallest_choices(space: BoundSpace, latency: LatencyModel, memory: CandidateMemory) -> dict[str, str]:
    """Return the choices with the lowest peak memory found: the best of several greedy ones.

    Each takes the choice with the fewest MACs at every decision, among all gates, among those that leave an ordinary
    network, and among those of one family or kind of site: gates that choose while the network runs need memory of
    their own, and cutting channels lowers other peaks than dropping blocks.
    """
    network = latency.network
    sites = network.sites
    macs = {
        (decision.name, choice): paper_macs(network, Policy(gates))
        for decision in space.decisions
        for choice, gates in decision.options.items()
    }

    def greedy(keep: Callable[[str, Gate], bool]) -> dict[str, str]:
        choices = {}
        for decision in space.decisions:
            able = [choice for choice, gates in decision.options.items() if all(keep(*pair) for pair in gates.items())]
            choices[decision.name] = min(able, key=lambda choice: macs[(decision.name, choice)])
        return choices

    pairs = space.gates()
    families = sorted({gate.family for _, gate in pairs})
    kinds = sorted({sites[site].kind for site, _ in pairs})
    static = [name for name in families if get_family(name).is_static]
    candidates = [
        greedy(lambda site, gate, among=among, reach=reach: gate.family in among and sites[site].kind in reach)  # type: ignore[misc]
        for among in (families, static, *([name] for name in families))
        for reach in (kinds, [kind for kind in kinds if kind != "block"], *([kind] for kind in kinds))
    ]
    return min(candidates, key=lambda choices: memory.peak_bytes(canonical(space.policy(choices), sites)))
