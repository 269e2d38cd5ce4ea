"""Choose, by what was measured, which of several equal executors runs at each site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autogate.gates import get_family
from autogate.latency.units import Unit
from autogate.policy import Policy
from autogate.records import ExecutionPlan, Site


def fastest_executors(
    policy: Policy, sites: Mapping[str, Site], units: Sequence[Unit], unit_ms: Mapping[str, float], batch_size: int
) -> ExecutionPlan:
    """Return the executors that were fastest where their gate stood alone, by site; defaults are left out.

    Args:
        policy: A canonical policy.
        sites: The network's sites.
        units: The network's units.
        unit_ms: Time of each unit form that was measured, in milliseconds, by key.
        batch_size: Images per call.
    """
    plan: dict[str, str] = {}
    for site, gate in policy:
        names = get_family(gate.family).executors(sites[site], gate, batch_size)
        times = []
        for name in names:
            alone = {site: name} if name != names[0] else {}
            keys = [unit.key({site: gate}, {}, alone) for unit in units if site in unit.sites]
            times.append(sum(unit_ms.get(key, math.inf) for key in keys))
        if names and min(times) < times[0]:
            plan[site] = names[times.index(min(times))]
    return plan
