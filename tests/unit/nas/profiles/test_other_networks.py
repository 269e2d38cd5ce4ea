"""Profiles of one network, used with another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autogate.errors import ProfileError
from autogate.latency.model import LatencyModel, cut_into_units
from autogate.latency.profile import read_profile, revalidate
from autogate.models import load_model
from autogate.nas.profiles import find_profile
from autogate.nas.profiles.choosing import covering_model
from autogate.policy import Gate
from autogate.records import Profile
from autogate.sites import Network, find_sites
from autogate.space import load_space
from autogate.space.bound import bind
from tests.support.networks import known_network
from tests.support.profiles import profile_of

DROP = ("block:layer1.1", Gate("drop"))


def recorded(model: str) -> Profile:
    return read_profile(find_profile(f"intel-xeon-2-cores-{model}-b1-float32-1-thread-eager-torch2.15"))


def network(model: str, size: int = 32) -> Network:
    return find_sites(load_model(model).module, (3, size, size))


@pytest.mark.e2e
@pytest.mark.parametrize(("its", "ours"), [("resnet20", "resnet56"), ("resnet56", "resnet20")])
def test_a_sibling_of_the_same_units_is_refused_with_what_differs(its: str, ours: str) -> None:
    taken, here = recorded(its), network(ours)
    units, there = cut_into_units(here), cut_into_units(network(its))
    assert {unit.type for unit in units} == {unit.type for unit in there}
    first = next(i for i, unit in enumerate(units) if unit.type != there[i].type)
    expected = (
        f"^the profile of '{its}' is of another network: it has {len(there)} units, this one {len(units)}; its unit "
        f"{first + 1} is {there[first].type}, this one's {units[first].type}; use it .* `autogate profile`$"
    )
    with pytest.raises(ProfileError, match=expected):
        LatencyModel(taken, here)
    with pytest.raises(ProfileError, match=expected):
        revalidate(taken, here)
    assert covering_model(taken, here, bind(load_space("drop"), here.sites)) is None


def test_another_input_size_is_named() -> None:
    with pytest.raises(ProfileError, match="network: its input is 3x32x32, this one's 3x48x48; its unit 1 is"):
        LatencyModel(profile_of(known_network("resnet20"), [DROP]), network("resnet20", 48))


def test_another_classifier_is_named() -> None:
    here = find_sites(load_model("resnet20", num_classes=7).module, (3, 32, 32))
    with pytest.raises(ProfileError, match="network: its unit 20 is 10-.*, this one's 7-"):
        LatencyModel(profile_of(known_network("resnet20"), [DROP]), here)


def test_a_unit_that_was_never_timed_is_named() -> None:
    here = known_network("resnet20")
    taken, last = profile_of(here, [DROP]), cut_into_units(here)[-1].type
    without = replace(taken, units=tuple(unit for unit in taken.units if unit.key != last))
    with pytest.raises(ProfileError, match=f"network: it lacks unit {last}"):
        LatencyModel(without, here)


def test_other_names_of_the_same_layers_are_named() -> None:
    here = known_network("resnet20")
    taken = profile_of(here, [DROP])
    gates = {"block:stage1.1": {"family": "drop", "genes": {}}}
    renamed = [
        replace(one, policy={**one.policy, "gates": gates if one.policy["gates"] else {}}) for one in taken.networks
    ]
    with pytest.raises(ProfileError, match=r"network: it has gates at block:stage1\.1, which this one lacks"):
        LatencyModel(replace(taken, networks=tuple(renamed)), here)
