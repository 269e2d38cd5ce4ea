from __future__ import annotations

import pytest
import torch

from autogate.gates.gss import (
    VARIANCE_FORMS,
    StrengthControl,
    StructureGate,
    group_lasso,
    inverse_variance,
    inverse_variance_of_norms,
    inverse_variation,
)
from autogate.policy import Gate, Policy
from autogate.surgery import attach_gates, canonical, compact_form, training_form
from tests.support.family_suite import SliceSuite
from tests.support.networks import assert_close, images, known_network, own_copy

SITE = "map:layer2.0.conv1"


class TestGss(SliceSuite):
    family = "gss"

    def test_loss_of_the_hand_case(self) -> None:
        """Section 9 of the family reference: two groups with squared norms 1 and 4."""
        squared = torch.tensor([1.0, 4.0])
        assert float(group_lasso(squared)) == pytest.approx(3.0)
        assert float(inverse_variance(squared)) == pytest.approx(0.4444, abs=1e-4)
        assert float(inverse_variance_of_norms(squared)) == pytest.approx(2.0)
        assert float(inverse_variation(squared)) == pytest.approx(2.7778, abs=1e-4)
        assert float(0.001 * group_lasso(squared) + 0.01 * inverse_variance(squared)) == pytest.approx(
            0.007444, abs=1e-6
        )

    def test_loss_of_a_network_is_the_sum_over_its_layers(self) -> None:
        network = own_copy(known_network("resnet20"))
        gates = gates_of(network, {SITE: 0.5, "map:layer3.1.conv1": 0.5})
        for gate in gates.values():
            gate.train().begin()
        expected = 0.0
        for conv in (network.model.layer2[0].conv1, network.model.layer3[1].conv1):
            squared = conv.weight.square().sum(dim=(1, 2, 3))
            expected += 0.001 * float(squared.sqrt().sum()) + 0.01 / float(squared.var(correction=0))
        assert float(StructureGate.joint_loss(list(gates.values()))) == pytest.approx(expected, rel=1e-5)

    def test_scale_free_form_does_not_see_the_scale(self) -> None:
        squared = torch.rand(16)
        assert float(inverse_variation(squared)) == pytest.approx(float(inverse_variation(100 * squared)), rel=1e-4)
        assert float(inverse_variance(squared)) == pytest.approx(1e4 * float(inverse_variance(100 * squared)), rel=1e-4)

    @pytest.mark.parametrize("axis", ["out", "in"])
    @pytest.mark.parametrize("form", VARIANCE_FORMS)
    def test_the_loss_sorts_channels_and_training_keeps_the_largest(self, axis: str, form: str) -> None:
        network = own_copy(known_network("resnet20"))
        knobs = {"axis.gss": axis, "variance_form.gss": form, "group_lasso.gss": 0.05}
        gate = gates_of(network, {SITE: 0.5}, knobs)[SITE].train()
        before = gate.kept.clone()
        gate.begin()
        value = torch.rand(2, 32, 4, 4)
        gate.set_progress(0.0)
        assert torch.equal(gate(value, value), value)
        optimiser = torch.optim.SGD(network.model.parameters(), lr=0.02)
        first = gate.squared_norms().detach()
        for _ in range(60):
            optimiser.zero_grad()
            StructureGate.joint_loss([gate]).backward()
            optimiser.step()
        last = gate.squared_norms().detach()
        assert last.sum() < first.sum()
        assert last.std() / last.mean() > first.std() / first.mean()
        gate.set_progress(0.7)
        assert gate.kept.tolist() == sorted(last.topk(16).indices.tolist())
        assert gate.kept.shape == before.shape
        assert StructureGate.joint_loss([gate]) is None
        assert (gate(value, value).abs().sum(dim=(0, 2, 3)) > 0).nonzero().flatten().tolist() == gate.kept.tolist()

    def test_without_its_own_procedure_it_is_a_slice_by_magnitude(self) -> None:
        network = known_network("resnet20")
        forms = []
        for family in ("gss", "magnitude"):
            policy = canonical(Policy({SITE: Gate(family, {"ratio": 0.5})}), network.sites)
            gates = attach_gates(network, policy)
            assert type(gates[SITE]).joint_loss(list(gates.values())) is None
            forms.append((training_form(network, gates).eval(), compact_form(network, policy, gates)))
        x = images(network, 2)
        with torch.no_grad():
            assert_close(forms[0][0](x), forms[1][0](x))
            assert_close(forms[0][1](x), forms[1][1](x))


def gates_of(network, ratios, knobs=None):  # type: ignore[no-untyped-def]
    gates = {site: Gate("gss", {"ratio": ratio}) for site, ratio in ratios.items()}
    return attach_gates(network, canonical(Policy(gates, knobs or {}), network.sites))


@pytest.mark.parametrize("target", [0.25, 0.5, 0.75])
def test_bisection_finds_the_strength_that_empties_the_wanted_share_of_groups(target: float) -> None:
    """Groups of norm 1 to 8, of which the lasso empties those weaker than its strength at once."""
    norms = torch.arange(1.0, 9.0)
    control = StrengthControl(target)
    for step in range(200):
        control.observe((norms - control.factor).clamp(min=0), step / 200)
    assert control.steps == 7
    # 25 % are gone from a strength of 2 on, 50 % from 4 on, 75 % from 6 on.
    assert 8 * target * 0.85 <= control.factor <= 8 * target * 1.15


def test_controlled_sorting_reaches_its_target_in_training() -> None:
    gone = {}
    for control in ("fixed", "bisect"):
        network = own_copy(known_network("resnet20"))
        knobs = {"control.gss": control, "group_lasso.gss": 0.005}
        gate = gates_of(network, {SITE: 0.5}, knobs)[SITE].train()
        gate.begin()
        conv = network.model.get_submodule("layer2.0.conv1")
        wanted = conv.weight.detach().clone()
        optimiser = torch.optim.SGD(conv.parameters(), lr=0.1)
        for step in range(600):
            gate.set_progress(0.6 * step / 600)
            # A task that pulls the filters apart, each to its own length.
            loss = 0.05 * (conv.weight - wanted * torch.linspace(0.2, 2, 32).view(-1, 1, 1, 1)).square().sum()
            optimiser.zero_grad()
            (loss + gate.joint_loss([gate])).backward()
            optimiser.step()
        norms = gate.squared_norms().detach().sqrt()
        gone[control] = float((norms < 0.05 * norms.max()).float().mean())
    assert gone["fixed"] < 0.2
    assert 0.3 <= gone["bisect"] <= 0.75
