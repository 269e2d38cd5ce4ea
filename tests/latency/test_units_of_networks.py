from __future__ import annotations

import pytest
from helpers import FAST, SIZES, known_network, network_of
from torch import nn

from autogate.latency.units import cut_into_units, keys_of
from autogate.policy import DENSE, Gate, Policy
from autogate.surgery import compact_form
from autogate.surgery.compact_form import UNIT

NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SIZES]


@pytest.mark.parametrize("name", NETWORKS)
def test_units_cover_every_site_and_every_node(name: str) -> None:
    network = known_network(name)
    units = cut_into_units(network)
    touched = {site for unit in units for site in unit.sites}
    assert touched == set(network.sites)
    assert [unit.index for unit in units] == list(range(len(units)))
    marks = [node.meta[UNIT] for node in network.graph.nodes if node.op.startswith("call")]
    assert marks == sorted(marks)
    assert set(marks) == set(range(len(units)))


def test_a_block_never_straddles_a_border() -> None:
    for name in ("resnet20", "densenet40"):
        network = known_network(name)
        for site in network.sites.values():
            if site.kind == "block":
                holders = [unit for unit in cut_into_units(network) if site.name in unit.sites]
                assert len(holders) == 1


def test_units_of_resnet20() -> None:
    units = cut_into_units(known_network("resnet20"))
    # The stem, seven blocks with an identity shortcut, two convolutions each of the other two, and the head.
    assert len(units) == 1 + 7 + 2 * 2 + 1
    types = [unit.type for unit in units]
    # Equal layers and shapes share a type: the three blocks of stage 1, the last two of stage 2. In stage 3 the
    # pooling that follows belongs to the last block.
    assert len({*types[1:4]}) == 1
    assert len({*types[6:8]}) == 1
    assert len(set(types)) == 10
    assert units[2].sites == ("block:layer1.1", "map:layer1.1.conv1")
    assert units[4].sites == units[5].sites == ("map:layer2.0.conv1",)


def test_equal_layers_with_other_places_for_gates_are_of_another_type() -> None:
    convs = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)]
    body = nn.Sequential(nn.AdaptiveAvgPool2d(8), *(layer for conv in convs for layer in (conv, nn.ReLU())))
    units = cut_into_units(network_of(nn.Sequential(nn.Conv2d(3, 8, 1), body), 16))
    assert [len([site for site in unit.sites if site.startswith("map")]) for unit in units] == [0, 1, 2, 1]
    # Reading a map and reading a group is the same to the layer that reads.
    assert [unit.sites[0].split(":")[0] for unit in units] == ["group", "group", "map", "map"]
    assert len({unit.type for unit in units}) == 4


def test_keys_say_what_runs() -> None:
    network = known_network("resnet20")
    units = cut_into_units(network)
    half = Gate("magnitude", {"ratio": 0.5})
    policy = Policy({"block:layer1.1": Gate("lcnet", {"tau": 0.5}), "map:layer1.1.conv1": half})
    dense = keys_of(units, DENSE, {})
    assert list(dense) == [unit.type for unit in units]
    keys = keys_of(units, policy, {"block:layer1.1": 0})
    assert [i for i in range(13) if keys[i] != dense[i]] == [2]
    assert keys[2] == f"{units[2].type}|0:lcnet(tau=0.5)@0|1:magnitude(ratio=0.5)"
    # The same gates in an equal unit elsewhere are the same form.
    moved = Policy({"block:layer1.2": Gate("lcnet", {"tau": 0.5}), "map:layer1.2.conv1": half})
    assert keys_of(units, moved, {"block:layer1.2": 0})[3] == keys[2]


def test_compact_nodes_know_their_unit() -> None:
    network = known_network("resnet20")
    cut_into_units(network)
    form = compact_form(network, DENSE, {})
    units = [node.meta[UNIT] for node in form.graph.nodes if node.op.startswith("call")]
    assert units == sorted(units)
