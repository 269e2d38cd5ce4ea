"""Which networks a profile runs."""

from __future__ import annotations

import itertools

import pytest
import torch

from autogate.gates import get_family
from autogate.latency.hardware import setting_of
from autogate.latency.model import cut_into_units, keys_of
from autogate.latency.profile import PlannedNetwork
from autogate.latency.profile.plan import plan_alone, plan_networks
from autogate.policy import DENSE
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.surgery import canonical
from tests.support.networks import FAST, SIZES, known_network

SETTING = setting_of(torch.device("cpu"), batch_size=2, layout="contiguous", threads=1)
NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in SIZES]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_gate_is_seen_alone_in_every_unit_it_changes(name: str) -> None:
    network = known_network(name)
    units = cut_into_units(network)
    space = bind(load_space("unified"), network.sites)
    plan = plan_alone(space, network.sites, units, SETTING)
    assert plan[0].policy == DENSE
    seen = {key for planned in plan for key in keys_of(units, planned.policy, planned.decisions, planned.executors)}
    for site, gate in space.gates():
        for decision in get_family(gate.family).decisions(network.sites[site], gate, 2):
            for unit in units:
                if site in unit.sites:
                    assert unit.key(space.alone(site, gate), {site: decision}) in seen
        for executor in get_family(gate.family).executors(network.sites[site], gate, 2)[1:]:
            for unit in units:
                if site in unit.sites:
                    assert unit.key({site: gate}, {}, {site: executor}) in seen


@pytest.mark.parametrize("name", NETWORKS)
def test_mixtures_are_canonical_and_differ(name: str) -> None:
    network = known_network(name)
    units = cut_into_units(network)
    space = bind(load_space("unified"), network.sites)

    def rough_ms(planned: PlannedNetwork) -> float:
        return 100.0 - len(planned.policy.gates)

    def planned_with(seed: int) -> list[PlannedNetwork]:
        return plan_networks(
            space,
            network.sites,
            units,
            SETTING,
            count=12,
            seed=seed,
            rough_ms=lambda planned: 100.0 - len(planned.policy.gates),
        )

    plan = planned_with(3)
    assert plan[0].policy == DENSE
    assert all(canonical(planned.policy, network.sites) == planned.policy for planned in plan)
    assert len({str(planned.policy) for planned in plan}) > 10
    assert planned_with(3) == plan
    assert planned_with(4) != plan
    assert rough_ms(plan[1]) == min(map(rough_ms, plan))
    # From a few gates to many, evenly.
    counts = sorted(len(planned.policy.gates) for planned in plan[1:])
    assert counts[0] <= 0.3 * counts[-1]
    assert max(after - before for before, after in itertools.pairwise(counts)) <= 0.4 * counts[-1]
