"""From the times of nodes to those of units: clocks are taken out, and what stands between two units is told apart."""

from __future__ import annotations

import pytest

from autogate.runtimes.isolated_child import Node, by_place
from autogate.runtimes.unit_shares import NodesBetween, unit_shares


def test_what_clocks_cost_is_taken_out_of_every_node() -> None:
    # Three nodes of 10 ms, on clocks that cost 1 ms each; a call takes 2 ms.
    nodes = [NodesBetween(0, 0, 11.0, 1), NodesBetween(1, 1, 22.0, 2)]
    shares = unit_shares(nodes, pass_ms=32.0, call_ms=2.0)
    assert {unit: 32.0 * share for unit, share in shares.units.items()} == pytest.approx({0: 10.0, 1: 20.0})
    assert not shares.entries


def test_what_is_on_no_clock_is_every_nodes() -> None:
    nodes = [NodesBetween(0, 0, 9.0, 1), NodesBetween(1, 1, 18.0, 2)]
    shares = unit_shares(nodes, pass_ms=32.0, call_ms=2.0)
    assert {unit: 32.0 * share for unit, share in shares.units.items()} == pytest.approx({0: 10.0, 1: 20.0})


def test_a_node_takes_no_less_than_nothing() -> None:
    shares = unit_shares([NodesBetween(0, 0, 0.1, 1), NodesBetween(1, 1, 9.9, 1)], 8.0, 0.0).units
    assert 0 < shares[0] < shares[1] < 1.2


def test_what_stands_before_a_unit_is_not_in_its_time() -> None:
    nodes = [
        NodesBetween(0, 0, 4.0, 1),
        NodesBetween(0, 3, 1.0, 1),
        NodesBetween(2, 3, 2.0, 1),
        NodesBetween(3, 3, 3.0, 1),
    ]
    shares = unit_shares(nodes, 10.0, 0.0)
    assert (shares.units, shares.entries) == (pytest.approx({0: 0.4, 3: 0.3}), pytest.approx({3: 0.3}))


def test_nodes_find_their_place_by_their_names_or_by_those_around_them() -> None:
    nodes = [
        Node("reorder", 1.0, 1),
        Node("u0/0/conv", 2.0, 1),
        Node("u0/0/conv_acdb_abcd_u2/1/gather", 4.0, 1),
        Node("u2/1/gather", 8.0, 1),
        Node("reorder_token_1", 16.0, 1),
        Node("u13/2/Gemm_kernel_time", 32.0, 4),
        Node("reorder", 64.0, 1),
    ]
    found = {place: (node.ms, node.clocks) for place, node in by_place(nodes).items()}
    assert found == {
        (0, 0): (3.0, 2),
        (0, 2): (4.0, 1),
        (2, 2): (8.0, 1),
        (2, 13): (16.0, 1),
        (13, 13): (96.0, 5),
    }
    # Of a network of one unit, or of nodes that a runtime gave names of its own, all are the first unit's.
    assert by_place(nodes[:1]) == {(0, 0): Node("", 1.0, 1)}
