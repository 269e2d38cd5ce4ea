"""Which networks show the strongest gate of a family, and which families save nothing even so."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from autogate.gates import get_family
from autogate.latency.hardware import setting_of
from autogate.latency.model import cut_into_units
from autogate.latency.profile.first_look import FirstLook, first_look, shown_by, without_savings
from autogate.latency.profile.plan import PlannedNetwork, plan_alone
from autogate.latency.profile.timed_networks import executed_macs
from autogate.policy import Gate
from autogate.space import load_space
from autogate.space.bound import bind
from tests.support.networks import known_network

# Planned networks share weights with the one they are made of, which therefore is nobody else's.
NETWORK = replace(known := known_network("resnet20"), model=copy.deepcopy(known.model))
SETTING = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
ALONE = plan_alone(bind(load_space("unified"), NETWORK.sites), NETWORK.sites, cut_into_units(NETWORK), SETTING)


@pytest.fixture(scope="module")
def look() -> FirstLook:
    return first_look(
        ALONE,
        NETWORK.sites,
        lambda family: not get_family(family).is_static,
        lambda planned: executed_macs(NETWORK, planned, setting=SETTING),
    )


def test_the_strongest_gate_of_each_family_that_decides_on_data_is_looked_at(look: FirstLook) -> None:
    assert look.plan[0].policy.is_dense
    shown = [shown_by(planned, NETWORK.sites) for planned in look.plan[1:]]
    assert set(shown) == look.judged == {("antidote", "map"), ("lcnet", "map"), ("lcnet", "block"), ("mod", "block")}
    for planned in look.plan[1:]:
        family, kind = shown_by(planned, NETWORK.sites)
        rivals = [other for other in ALONE[1:] if shown_by(other, NETWORK.sites) == (family, kind)]
        least = min(executed_macs(NETWORK, other, setting=SETTING) for other in rivals if not other.executors)
        if not planned.executors:
            assert executed_macs(NETWORK, planned, setting=SETTING) == least
    # Whatever runs the strongest gate is looked at too.
    strongest = next(p for p in look.plan[1:] if shown_by(p, NETWORK.sites) == ("antidote", "map"))
    ways = [p for p in ALONE if p.policy == strongest.policy]
    assert [p for p in look.plan if p.policy == strongest.policy] == ways
    assert len(ways) > 1


def test_a_family_stays_if_one_of_its_gates_saves_time_somewhere(look: FirstLook) -> None:
    site = next(iter(next(p for p in look.plan[1:] if shown_by(p, NETWORK.sites) == ("mod", "block")).policy.gates))

    def pays(name: str, gate: Gate) -> bool:
        return (gate.family, name) == ("mod", site)

    assert without_savings(look, NETWORK.sites, pays) == look.judged - {("mod", "block")}
    assert without_savings(look, NETWORK.sites, lambda name, gate: True) == frozenset()


def test_planned_networks_with_static_gates_are_not_judged() -> None:
    look = first_look(ALONE, NETWORK.sites, lambda family: False, lambda planned: 0)
    assert look.plan == ALONE[:1]
    assert isinstance(look.plan[0], PlannedNetwork)
    assert not look.judged
