"""Compact networks in pieces: each computes its part, and pieces are told apart by what they compute."""

from __future__ import annotations

import pytest
import torch
from torch import fx

from autogate.latency.model import cut_into_units
from autogate.models import load_model
from autogate.policy import Gate, Policy
from autogate.runtimes.unit_graphs import UnitGraph, cut_by_unit
from autogate.sites import find_sites
from autogate.surgery import canonical
from tests.support.networks import assert_close, forms_of, images, known_network, random_policy

FAMILIES = ("drop", "magnitude", "dce", "gss", "mod", "antidote", "lcnet")
BLOCK, MAP = "block:layer2.1", "map:layer1.0.conv1"


def compact(gates: dict[str, Gate], name: str = "resnet20") -> fx.GraphModule:
    network = known_network(name)
    cut_into_units(network)
    return forms_of(network, canonical(Policy(gates), network.sites))[1]


def pieces(gates: dict[str, Gate], name: str = "resnet20") -> tuple[UnitGraph, ...]:
    form = compact(gates, name)
    return cut_by_unit(form, images(known_network(name), 1)).graphs


@pytest.mark.parametrize("seed", range(6))
def test_pieces_that_run_one_after_the_other_give_what_the_network_gives(seed: int) -> None:
    network = known_network("resnet20")
    units = cut_into_units(network)
    _, form = forms_of(network, random_policy(network, FAMILIES, seed))
    x, other = images(network, 2).split(1)
    cut = cut_by_unit(form, x)
    assert {piece.unit for piece in cut.graphs} <= {unit.index for unit in units}
    # Pieces hold for other images too, where shapes do not hang on the data.
    for batch in (x,) if any("lcnet" in name for name, _ in form.named_modules()) else (x, other):
        values = {cut.input: batch}
        with torch.no_grad():
            for piece in cut.graphs:
                values |= zip(piece.outputs, piece.module(*map(values.__getitem__, piece.inputs)), strict=True)
            assert_close(values[cut.outputs[""]], form(batch))


class Several(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3)
        self.body = torch.nn.Conv2d(8, 8, 3)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> object:
        value = self.body(self.stem(x).relu())
        large, small = value.split(4, dim=1)
        return {"out": self.head(value.mean((2, 3))), "parts": (large, small)}


def test_several_outputs_and_values_of_several_tensors() -> None:
    network = find_sites(Several().eval(), (3, 16, 16))
    cut_into_units(network)
    _, form = forms_of(network, Policy())
    cut = cut_by_unit(form, images(network, 1))
    assert list(cut.outputs) == ["out", "parts.0", "parts.1"]


def test_equal_units_are_one_form_whatever_their_weights() -> None:
    dense = pieces({})
    assert len({piece.digest for piece in dense}) < len(dense)
    assert [piece.digest for piece in pieces({})] == [piece.digest for piece in dense]
    other = find_sites(load_model("resnet20").module, (3, 32, 32))
    cut_into_units(other)
    form = forms_of(other, Policy())[1]
    assert not torch.equal(form.get_submodule("conv1").weight, compact({}).get_submodule("conv1").weight)
    assert [piece.digest for piece in cut_by_unit(form, images(other, 1)).graphs] == [piece.digest for piece in dense]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Gate("antidote", {"channel_ratio": 0.5}), Gate("antidote", {"channel_ratio": 0.25})),
        (Gate("antidote", {"channel_ratio": 0.5}), Gate("antidote", {"column_ratio": 0.5})),
        (Gate("magnitude", {"ratio": 0.5}), Gate("magnitude", {"ratio": 0.25})),
        (Gate("lcnet", {"scale": "none"}), Gate("lcnet", {"scale": "score"})),
    ],
)
def test_gates_of_other_genes_are_other_forms(one: Gate, other: Gate) -> None:
    first, second = ([piece.digest for piece in pieces({MAP: gate})] for gate in (one, other))
    assert first != second


def test_units_that_differ_in_widths_share_a_pattern_and_others_do_not() -> None:
    half, quarter = (pieces({MAP: Gate("magnitude", {"ratio": ratio})}) for ratio in (0.5, 0.75))
    differ = [(a, b) for a, b in zip(half, quarter, strict=True) if a.digest != b.digest]
    assert len(differ) == 2
    assert all(a.pattern == b.pattern for a, b in differ)
    # A stride, a gate, another family.
    others = (*half[2:], *pieces({MAP: Gate("antidote", {"channel_ratio": 0.5})})[1:3], *pieces({BLOCK: Gate("mod")}))
    strided = [piece.pattern for piece in others if "stride=(2, 2)" in str(piece.module)]
    gated = [p.pattern for p in others if any("torch.nn" not in type(layer).__module__ for layer in p.layers)]
    assert strided
    assert gated
    assert {a.pattern for a, _ in differ}.isdisjoint([*strided, *gated])


def test_a_gated_block_shares_its_pattern_with_one_that_is_thinner_inside() -> None:
    inside = "map:layer2.1.conv1"
    whole, thin = (
        next(piece for piece in pieces(gates) if any("SkippedBlock" in type(one).__name__ for one in piece.layers))
        for gates in ({BLOCK: Gate("lcnet")}, {BLOCK: Gate("lcnet"), inside: Gate("magnitude", {"ratio": 0.5})})
    )
    assert whole.digest != thin.digest
    assert whole.pattern == thin.pattern


def test_a_module_that_refers_to_itself_is_unlike_any_other() -> None:
    class Circle:
        def __init__(self) -> None:
            self.circle = self

    form, x = compact({}), images(known_network("resnet20"), 1)
    first = cut_by_unit(form, x).graphs[0].digest
    assert cut_by_unit(form, x).graphs[0].digest == first
    form.get_submodule("conv1").owner = Circle()
    assert len({first, *(cut_by_unit(form, x).graphs[0].digest for _ in range(2))}) == 3
