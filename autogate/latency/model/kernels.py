"""Choose, by what was measured, which of several equal executors runs at each site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autogate.gates import get_family
from autogate.latency.model.units import Unit
from autogate.policy import Gate, Policy
from autogate.records import ExecutionPlan, Site


class FastestKernels:
    """The executor of each gate that was fastest where the gate stood alone.

    Args:
        sites: The network's sites.
        units: The network's units.
        unit_ms: Time of each unit form that was measured, in milliseconds, by key.
        batch_size: Images per call.
    """

    def __init__(
        self, sites: Mapping[str, Site], units: Sequence[Unit], unit_ms: Mapping[str, float], batch_size: int
    ) -> None:
        self._sites = sites
        self._units = units
        self._unit_ms = unit_ms
        self._batch_size = batch_size
        self._chosen: dict[tuple[str, Gate], str | None] = {}

    def at(self, site: str, gate: Gate) -> str | None:
        """Return the name of the executor; None for the default."""
        if (site, gate) not in self._chosen:
            self._chosen[(site, gate)] = self._choose(site, gate)
        return self._chosen[(site, gate)]

    def plan(self, policy: Policy) -> ExecutionPlan:
        """Return the executors of a canonical policy, where they are not the default ones."""
        chosen = {site: self.at(site, gate) for site, gate in policy}
        return {site: name for site, name in chosen.items() if name is not None}

    def _choose(self, site: str, gate: Gate) -> str | None:
        names = get_family(gate.family).executors(self._sites[site], gate, self._batch_size)
        if not names:
            return None
        plans: list[ExecutionPlan] = [{}, *({site: name} for name in names[1:])]
        times = []
        for plan in plans:
            keys = [unit.key({site: gate}, {}, plan) for unit in self._units if site in unit.sites]
            times.append(sum(self._unit_ms.get(key, math.inf) for key in keys))
        return plans[times.index(min(times))].get(site)
