from __future__ import annotations

import pytest
from torch import nn

from autogate.latency.model import REMOVED, cut_into_units, keys_of
from autogate.policy import DENSE, Gate, Policy
from autogate.surgery import UNIT, attach_gates, canonical, compact_form
from tests.support.networks import FAST, SIZES, known_network, network_of

NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in SIZES]


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


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_begin_and_end_with_a_unit(name: str) -> None:
    network = known_network(name)
    units = cut_into_units(network)
    regions = {region.site: region for unit in units for region in unit.regions}
    assert set(regions) == {site for site in network.sites if site.startswith("block:")}
    for site, region in regions.items():
        assert region.units == tuple(range(region.units[0], region.units[-1] + 1))
        assert region.sites[0] == site
        entry = network.by_name[network.block(site).entry]
        # What the block reads is there before its first unit begins.
        assert entry.op == "placeholder" or entry.meta[UNIT] < region.units[0]
        assert all(region in units[i].regions for i in region.units)


def test_units_of_resnet20() -> None:
    units = cut_into_units(known_network("resnet20"))
    # The stem, nine blocks of two convolutions, and the head.
    assert len(units) == 1 + 9 * 2 + 1
    types = [unit.type for unit in units]
    # Equal layers and shapes share a type: the three blocks of stage 1, the last two of stage 2. In stage 3 the
    # pooling that follows belongs to the last convolution.
    assert len({*types[1:7:2]}) == len({*types[2:7:2]}) == 1
    assert types[9:11] == types[11:13]
    assert types[15] == types[17]
    assert types[16] != types[18]
    assert len(set(types)) == 1 + 2 + 4 + 2 + 3 + 1
    assert units[3].sites == units[4].sites == ("block:layer1.1", "map:layer1.1.conv1")
    assert units[7].sites == units[8].sites == ("map:layer2.0.conv1",)
    assert units[7].regions == ()
    (region,) = units[3].regions
    assert (region.units, region.sites) == ((3, 4), ("block:layer1.1", "map:layer1.1.conv1"))
    assert units[5].regions[0].type == region.type


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
    types = [unit.type for unit in units]
    assert list(dense) == types
    keys = keys_of(units, policy, {"block:layer1.1": 0})
    assert [i for i in range(20) if keys[i] != dense[i]] == [3, 4]
    # The last unit stands for a block with a gate.
    assert keys[3] == REMOVED
    assert keys[4] == f"{units[4].regions[0].type}|0:lcnet(tau=0.5)@0|1:magnitude(ratio=0.5)"
    # The same gates in an equal block elsewhere are the same form.
    moved = Policy({"block:layer1.2": Gate("lcnet", {"tau": 0.5}), "map:layer1.2.conv1": half})
    assert keys_of(units, moved, {"block:layer1.2": 0})[5:7] == keys[3:5]
    # Without a gate at the block, each of its units says what runs in it.
    inner = keys_of(units, Policy({"map:layer1.1.conv1": half}), {})
    assert inner[3:5] == (f"{types[3]}|1:magnitude(ratio=0.5)", f"{types[4]}|1:magnitude(ratio=0.5)")


def test_compact_nodes_know_their_unit() -> None:
    network = known_network("resnet20")
    cut_into_units(network)
    form = compact_form(network, DENSE, {})
    units = [node.meta[UNIT] for node in form.graph.nodes if node.op.startswith("call")]
    assert units == sorted(units)


@pytest.mark.parametrize("name", NETWORKS)
def test_units_of_which_nothing_is_left_have_no_nodes(name: str) -> None:
    network = known_network(name)
    units = cut_into_units(network)
    blocks = [site for site in network.sites if site.startswith("block:")]
    policy = canonical(Policy(dict.fromkeys(blocks[::2], Gate("drop"))), network.sites)
    form = compact_form(network, policy, attach_gates(network, policy))
    used = {node.meta[UNIT] for node in form.graph.nodes if node.op.startswith("call")}
    keys = keys_of(units, policy, {})
    assert not used & {i for i, key in enumerate(keys) if key == REMOVED}
    assert {i for i, key in enumerate(keys) if "drop" not in key and key != REMOVED} <= used
