"""The tests that every gate family must pass; a family's own test class inherits them.

A subclass says three things: the family's name, at how many sites of each test network it fits, and a few
gene values that must be refused.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import fx

from autogate.errors import PolicyError
from autogate.gates import FAMILIES
from autogate.policy import DENSE, Gate, Policy
from autogate.surgery import attach_gates, canonical, compact_form, training_form
from tests.support.networks import (
    FAST,
    assert_close,
    forms_of,
    images,
    known_network,
    options_at,
    own_copy,
    random_policy,
)

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
POLICIES = 5
BATCHES = (1, 5)


class _InAnotherLayout(fx.Interpreter):
    """Runs a network and finds the maps that are not in a memory layout."""

    def __init__(self, module: fx.GraphModule, layout: torch.memory_format) -> None:
        super().__init__(module)
        self.layout = layout
        self.found: list[str] = []

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        is_map = isinstance(value, torch.Tensor) and value.dim() == 4 and value.shape[1] > 1 and value.shape[2] > 1
        # A slice of the input is in no layout at all.
        others = [layout for layout in LAYOUTS.values() if layout is not self.layout]
        if is_map and not value.is_contiguous(memory_format=self.layout):
            self.found += [n.name for layout in others if value.is_contiguous(memory_format=layout)]
        return value


class FamilySuite:
    """Tests of one gate family.

    Attributes:
        family: Its name.
        sites: At how many sites of each network it fits, 0 for nowhere; ``autogate sites --model NAME`` lists them.
        refused: Site of resnet20, genes, and a part of the message that refuses them.
        unfit: Network and site at which it does not fit, and a part of the reason.
    """

    family: ClassVar[str]
    sites: ClassVar[dict[str, int]]
    refused: ClassVar[list[tuple[str, dict[str, Any], str]]]
    unfit: ClassVar[tuple[str, str, str]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "fitting" in metafunc.fixturenames:
            names = [name for name, count in self.sites.items() if count]
            marked = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in names]
            metafunc.parametrize("fitting", marked)
        if "network_name" in metafunc.fixturenames:
            marked = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in self.sites]
            metafunc.parametrize("network_name", marked)

    def test_it_fits_where_it_should(self, network_name: str) -> None:
        sites = known_network(network_name).sites.values()
        assert sum(FAMILIES[self.family].fits(site) for site in sites) == self.sites[network_name]

    @pytest.mark.parametrize("seed", range(POLICIES))
    def test_training_form_in_evaluation_equals_compact_form(self, fitting: str, seed: int) -> None:
        network = known_network(fitting)
        policy = random_policy(network, (self.family,), seed)
        masked, compact = forms_of(network, policy)
        with torch.no_grad():
            for batch in BATCHES:
                x = images(network, batch, seed)
                assert_close(compact(x), masked(x))
            x = images(network, 1, seed)
            expected, found = masked(x), compact(x)
            # Evaluation has no noise.
            assert torch.equal(masked(x), expected)
            assert torch.equal(compact(x), found)
            # The gates do something, or the comparison would say nothing.
            with pytest.raises(AssertionError, match="of the largest value"):
                assert_close(network.model(x), expected)

    def test_every_gate_alone(self) -> None:
        network = known_network("resnet20" if self.sites["resnet20"] else "densenet40")
        x = images(network, 2)
        names = [name for name, site in network.sites.items() if options_at(site, (self.family,))]
        for name in (names[0], names[-1]):
            for gate in options_at(network.sites[name], (self.family,)):
                policy = canonical(Policy({name: gate}), network.sites, strict=True)
                assert list(policy.gates) == [name]
                masked, compact = forms_of(network, policy)
                with torch.no_grad():
                    assert_close(compact(x), masked(x))

    @pytest.mark.parametrize(
        ("name", "seed"),
        [
            *(("resnet20", seed) for seed in range(4)),
            *(pytest.param(name, 0, marks=pytest.mark.e2e) for name in ("resnet50", "vgg16_bn", "mobilenet_v2")),
        ],
    )
    def test_gradient_reaches_every_gate_parameter(self, name: str, seed: int) -> None:
        network = own_copy(known_network(name))
        places = [name for name, site in network.sites.items() if FAMILIES[self.family].fits(site)]
        # With the default genes every gate starts open, or with something to learn from.
        policy = canonical(Policy(dict.fromkeys(places, Gate(self.family))), network.sites)
        torch.manual_seed(seed)
        gates = attach_gates(network, policy)
        assert any(list(gate.parameters()) for gate in gates.values()) == FAMILIES[self.family].has_weights
        form = training_form(network, gates).train()
        form(images(network, 8, seed)).square().mean().backward()
        without = [
            f"{site}: {name}"
            for site, gate in gates.items()
            for name, parameter in gate.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        assert without == []
        # What stays of the dense network learns too.
        assert all(p.grad is not None and p.grad.isfinite().all() for p in form.parameters())
        assert all(p.grad is not None and p.grad.any() for p in form.parameters())

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("batch", BATCHES)
    def test_the_memory_layout_stays_as_it_is(self, layout: str, batch: int) -> None:
        """A layer that hands on another layout slows down every layer behind it."""
        network = known_network("resnet20" if self.sites["resnet20"] else "densenet40")
        name = next(name for name, site in network.sites.items() if options_at(site, (self.family,)))
        x = images(network, batch).contiguous(memory_format=LAYOUTS[layout])
        for gate in options_at(network.sites[name], (self.family,)):
            policy = canonical(Policy({name: gate}), network.sites)
            for executor in FAMILIES[self.family].executors(network.sites[name], policy.gates[name], batch) or (None,):
                plan = {} if executor is None else {name: executor}
                compact = compact_form(network, policy, attach_gates(network, policy), plan=plan)
                with torch.no_grad():
                    other = _InAnotherLayout(compact.to(memory_format=LAYOUTS[layout]), LAYOUTS[layout])
                    other.run(x)
                assert other.found == []

    def test_decisions_are_recorded_if_and_only_if_the_cost_varies(self) -> None:
        family = FAMILIES[self.family]
        network = known_network("resnet20" if self.sites["resnet20"] else "densenet40")
        policy = random_policy(network, (self.family,), 0)
        gates = attach_gates(network, policy)
        form = training_form(network, gates).eval()
        with torch.no_grad():
            form(images(network, 3))
        for site, gate in gates.items():
            assert (gate.decision is not None) == family.varies
            assert (family.decisions(network.sites[site], policy.gates[site], 1) == (None,)) == (not family.varies)
            if gate.decision is not None:
                full = 1 if network.sites[site].kind == "block" else network.sites[site].channels
                assert gate.decision.shape == (3,)
                assert 0 <= int(gate.decision.min()) <= int(gate.decision.max()) <= full

    def test_costs_name_the_convolutions_of_the_site(self) -> None:
        family = FAMILIES[self.family]
        for network in (known_network("resnet20"), known_network("densenet40")):
            for site in network.sites.values():
                for gate in options_at(site, (self.family,)):
                    complete = family.complete(site, gate)
                    factors = family.mac_factors(site, complete, None)
                    layers = {conv.name for conv in site.convs} | {coupling.name for coupling in site.couplings}
                    assert set(factors) <= layers
                    assert all(0.0 <= share <= 1.0 for share in factors.values())
                    assert family.extra_macs(site, complete) >= 0

    def test_what_is_not_named_takes_its_default(self) -> None:
        family = FAMILIES[self.family]
        sites = known_network("resnet20").sites
        for name, site in sites.items():
            if not family.fits(site):
                continue
            complete = family.complete(site, Gate(self.family))
            assert set(complete.genes) == {gene.name for gene in family.genes(site.kind) if not gene.silent}
            assert family.complete(site, complete) == complete
            short, long = (canonical(Policy({name: gate}), sites) for gate in (Gate(self.family), complete))
            assert short.digest == long.digest

    def test_it_is_profiled_as_a_gate_that_can_stand_there(self) -> None:
        for site in known_network("resnet20").sites.values():
            for gate in options_at(site, (self.family,)):
                alias = FAMILIES[self.family].profile_alias(FAMILIES[self.family].complete(site, gate))
                assert FAMILIES[alias.family].complete(site, alias) == alias

    def test_genes_out_of_range_are_refused(self) -> None:
        sites = known_network("resnet20").sites
        for site, genes, complaint in self.refused:
            with pytest.raises(PolicyError) as raised:
                canonical(Policy({site: Gate(self.family, genes)}), sites)
            message = str(raised.value)
            assert f"{self.family} at {site}" in message
            assert complaint in message
            assert "\n" not in message

    def test_unknown_genes_are_refused(self) -> None:
        network = known_network("resnet20")
        name = next(name for name, site in network.sites.items() if FAMILIES[self.family].fits(site))
        with pytest.raises(PolicyError, match=f"{self.family} at {name}: unknown gene 'colour'; known genes: "):
            canonical(Policy({name: Gate(self.family, {"colour": 1})}), network.sites)

    def test_a_site_it_does_not_fit_is_refused(self) -> None:
        name, site, reason = self.unfit
        with pytest.raises(PolicyError, match=f"{self.family} at {site} does not fit: .*{reason}"):
            canonical(Policy({site: Gate(self.family)}), known_network(name).sites)

    def test_no_gate_leaves_the_network_as_it_is(self) -> None:
        network = known_network("resnet20")
        x = images(network, 2)
        with torch.no_grad():
            assert_close(compact_form(network, DENSE, {})(x), network.model(x))


class SliceSuite(FamilySuite):
    """Tests of a family that removes channels for good, of maps and of groups."""

    sites = {"resnet20": 9, "resnet50": 32 + 5, "vgg16_bn": 12 + 1, "mobilenet_v2": 19 + 6, "densenet40": 39}
    refused = [
        ("map:layer2.0.conv1", {"ratio": 0.98}, "ratio must be in [0, 0.97], not 0.98"),
        ("map:layer2.0.conv1", {"ratio": -0.1}, "ratio must be in [0, 0.97], not -0.1"),
        ("map:layer2.0.conv1", {"ratio": float("nan")}, "ratio must be in [0, 0.97]"),
        ("map:layer2.0.conv1", {"ratio": "half"}, "ratio must be a number, not 'half'"),
        ("map:layer2.0.conv1", {"ratio": True}, "ratio must be a number, not True"),
    ]
    unfit = ("densenet40", "map:trans1.conv.input", "no single convolution writes the map")
