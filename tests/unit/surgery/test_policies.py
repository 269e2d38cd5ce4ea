from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autogate.errors import PolicyError
from autogate.gates.gathered_channels import ChannelGatheredConv
from autogate.policy import DENSE, Gate, Policy
from autogate.surgery import canonical, compact_form, training_knobs
from tests.support.networks import assert_close, forms_of, images, known_network, lively_gates, network_of

RESNET, VGG = "resnet20", "vgg16_bn"
INSIDE, BLOCK = "map:layer1.1.conv1", "block:layer1.1"
HALF = Gate("magnitude", {"ratio": 0.5})
OPEN = [
    Gate("magnitude", {"ratio": 0.0}),
    Gate("magnitude", {"ratio": 0.05}),  # floor(0.05 * 16) removes nothing
    Gate("antidote"),
    Gate("antidote", {"channel_ratio": 0.06, "column_ratio": 0.0}),
]

KNOB = "targeted_dropout.drop"


def canonical_of(name: str, gates: dict[str, Gate], **more: float) -> Policy:
    return canonical(Policy(gates, more), known_network(name).sites)


@pytest.mark.parametrize("gate", OPEN, ids=str)
def test_open_gates_go(gate: Gate) -> None:
    assert canonical_of(RESNET, {INSIDE: gate}) == DENSE


def test_missing_genes_are_filled_in() -> None:
    policy = canonical_of(RESNET, {BLOCK: Gate("mod"), INSIDE: Gate("antidote", {"channel_ratio": 0.3})})
    assert dict(policy.gates[BLOCK].genes) == {"c": 16, "reduction": 16, "fusion": "first", "selector": "score"}
    other = canonical_of(RESNET, {INSIDE: Gate("antidote", {"channel_ratio": 0.3})})
    full = {"channel_ratio": 0.3, "column_ratio": 0.0, "order": "both", "strip": 1}
    assert dict(other.gates[INSIDE].genes) == full


@pytest.mark.parametrize("family", ["drop", "mod"])
def test_gates_inside_a_block_that_never_runs_go(family: str) -> None:
    lone = canonical_of(RESNET, {BLOCK: Gate(family)})
    both = canonical_of(RESNET, {BLOCK: Gate(family), INSIDE: HALF})
    assert both == lone
    assert both.digest == lone.digest
    # Maps elsewhere stay.
    assert len(canonical_of(RESNET, {BLOCK: Gate(family), "map:layer1.2.conv1": HALF}).gates) == 2


def test_a_block_that_may_run_keeps_its_inner_gates() -> None:
    policy = canonical_of(RESNET, {BLOCK: Gate("lcnet"), INSIDE: HALF})
    assert set(policy.gates) == {BLOCK, INSIDE}


@pytest.mark.parametrize("family", ["drop", "mod", "lcnet"])
def test_a_gated_plain_unit_excludes_gates_at_the_maps_it_touches(family: str) -> None:
    # features.17 writes one map and reads another; without a shortcut its width is everyone's.
    gates = {
        "block:features.17": Gate(family),
        "map:features.14": HALF,
        "map:features.17": HALF,
        "map:features.0": HALF,
    }
    assert set(canonical_of(VGG, gates).gates) == {"block:features.17", "map:features.0"}


def test_knobs_without_effect_go() -> None:
    half = {KNOB: 0.5, "targeted_dropout.magnitude": 0.5}
    assert canonical_of(RESNET, {BLOCK: Gate("drop")}, **half).training == {KNOB: 0.5}
    # Always dropped is what evaluation does anyway.
    assert canonical_of(RESNET, {BLOCK: Gate("drop")}, **{KNOB: 1.0}).training == {}
    # Nothing to act on.
    assert canonical_of(RESNET, {}, **half) == DENSE
    assert canonical_of(RESNET, {BLOCK: Gate("mod"), INSIDE: Gate("lcnet")}, **half).training == {}
    assert canonical_of(RESNET, {INSIDE: OPEN[0]}, **half) == DENSE


def test_unknown_knobs_are_named() -> None:
    for knob in ("targeted_dropout", "targeted_dropout.mod", "colour"):
        with pytest.raises(PolicyError, match=f"unknown training knob '{knob}'; known: targeted_dropout.drop"):
            canonical_of(RESNET, {BLOCK: Gate("drop")}, **{knob: 0.5})


def test_knobs_out_of_range_are_refused() -> None:
    with pytest.raises(PolicyError, match=r"drop: targeted_dropout must be in \[0, 1\], not 1.5"):
        canonical_of(RESNET, {BLOCK: Gate("drop")}, **{KNOB: 1.5})


def test_a_knob_has_its_default_unless_told() -> None:
    assert training_knobs(Policy({BLOCK: Gate("drop")}), "drop") == {"targeted_dropout": 1.0}
    policy = Policy({BLOCK: Gate("drop")}, {KNOB: 0.25})
    assert training_knobs(policy, "drop")["targeted_dropout"] == 0.25
    assert training_knobs(policy, "magnitude")["targeted_dropout"] == 1.0
    assert training_knobs(policy, "mod") == {}


@pytest.mark.parametrize("other", [HALF, Gate("antidote", {"channel_ratio": 0.5}), Gate("lcnet")], ids=str)
def test_a_predictor_never_reads_a_thinned_map(other: Gate) -> None:
    # features.14 writes the map that features.17 reads; lcnet at features.17 predicts from that map.
    gates = {"map:features.14": other, "map:features.17": Gate("lcnet")}
    sites = known_network(VGG).sites
    assert set(canonical(Policy(gates), sites).gates) == {"map:features.14"}
    with pytest.raises(PolicyError, match="map:features.14 thins what lcnet at map:features.17 has to read"):
        canonical(Policy(gates), sites, strict=True)


STREAM = "group:layer1.0.conv3"


@pytest.mark.parametrize(
    ("site", "gate"),
    [
        ("block:layer1.1", Gate("lcnet")),
        ("block:layer1.2", Gate("mod", {"c": 8})),
        ("map:layer1.1.conv1", Gate("lcnet")),
    ],
    ids=str,
)
def test_a_gate_never_reads_a_thinned_stream(site: str, gate: Gate) -> None:
    gates = {STREAM: HALF, site: gate}
    sites = known_network("resnet50").sites
    assert set(canonical(Policy(gates), sites).gates) == {STREAM}
    with pytest.raises(PolicyError, match=f"{STREAM} thins what {gate.family} at {site} has to read"):
        canonical(Policy(gates), sites, strict=True)


@pytest.mark.e2e
def test_what_lives_with_a_thinned_stream() -> None:
    gates = {
        STREAM: HALF,
        "block:layer1.1": Gate("drop"),
        "map:layer1.2.conv1": HALF,
        "map:layer1.2.conv2": Gate("antidote", {"channel_ratio": 0.5}),
        "block:layer2.1": Gate("lcnet"),
    }
    network = known_network("resnet50")
    policy = canonical(Policy(gates), network.sites, strict=True)
    assert set(policy.gates) == set(gates)
    form, compact = forms_of(network, policy)
    x = images(network, 2)
    with torch.no_grad():
        assert_close(compact(x), form(x))


def test_attention_never_ranks_a_thinned_map() -> None:
    gates = {"group:dense1.0.conv": HALF, "map:dense1.5.conv.input": Gate("antidote", {"channel_ratio": 0.5})}
    assert set(canonical(Policy(gates), known_network("densenet40").sites).gates) == {"group:dense1.0.conv"}


@pytest.mark.parametrize("first", ["magnitude", "antidote"])
@pytest.mark.parametrize("second", ["magnitude", "antidote"])
def test_other_neighbours_live_together(first: str, second: str) -> None:
    genes = {"magnitude": {"ratio": 0.5}, "antidote": {"channel_ratio": 0.5}}
    gates = {"map:features.14": Gate(first, genes[first]), "map:features.17": Gate(second, genes[second])}
    assert len(canonical(Policy(gates), known_network(VGG).sites, strict=True).gates) == 2


def test_unknown_sites_and_families_are_named() -> None:
    with pytest.raises(PolicyError, match="no site 'block:layer9'.*autogate sites"):
        canonical_of(RESNET, {"block:layer9": Gate("drop")})
    with pytest.raises(PolicyError, match="unknown gate family 'dorp'; did you mean drop"):
        canonical_of(RESNET, {BLOCK: Gate("dorp")})


def test_canonical_is_stable() -> None:
    gates = {BLOCK: Gate("drop"), INSIDE: HALF, "map:layer2.0.conv1": Gate("antidote", {"column_ratio": 0.5})}
    once = canonical_of(RESNET, gates, **{KNOB: 0.5})
    assert canonical(once, known_network(RESNET).sites) == once


def test_names_that_differ_only_in_punctuation_keep_their_own_gates() -> None:
    class Confusing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Module()
            self.a.b = nn.Conv2d(3, 8, 3, padding=1)
            self.a_b = nn.Conv2d(8, 8, 3, padding=1)
            self.last = nn.Conv2d(8, 8, 3, padding=1)
            self.head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.last(self.a_b(self.a.b(x).relu()).relu())
            return self.head(x.mean((2, 3)))

    network = network_of(Confusing(), 16)
    assert {"map:a.b", "map:a_b"} <= set(network.sites)
    few, many = (Gate("antidote", {"channel_ratio": ratio}) for ratio in (0.25, 0.75))
    x = images(network, 2)
    results = []
    for gates in ({"map:a.b": few, "map:a_b": many}, {"map:a.b": many, "map:a_b": few}):
        policy = canonical(Policy(gates), network.sites)
        compact = compact_form(network, policy, lively_gates(network, policy))
        kept = [
            module.choose.kept_channels(8) for module in compact.modules() if isinstance(module, ChannelGatheredConv)
        ]
        assert sorted(kept) == [2, 6]
        results.append(compact(x))
    assert not torch.allclose(*results)
