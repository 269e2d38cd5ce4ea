from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogate.gates.dce import BanditGate
from autogate.policy import Gate, Policy
from autogate.sites import Network
from autogate.surgery import attach_gates, canonical, compact_form, selections, training_form
from autogate.training import Recipe, optimiser_for
from tests.support.family_suite import SliceSuite
from tests.support.networks import assert_close, images, known_network, own_copy

SITE = "map:layer2.0.conv1"
RECIPE = Recipe(images=1, lr=0.1, weight_decay=0.1)


class TestDce(SliceSuite):
    family = "dce"

    def test_a_step_changes_the_selected_slices_and_nothing_else(self) -> None:
        network, gates, form = prepared("resnet20", 0.5)
        optimiser = optimiser_for(list(form.parameters()), RECIPE, form)
        for step in range(3):
            before = snapshot(network.model, optimiser)
            one_step(form, gates, optimiser, images(network, 8, step), step / 10)
            after = snapshot(network.model, optimiser)
            gate = gates[SITE]
            rest = [c for c in range(32) if c not in gate.selected.tolist()]
            for path, dim in (
                ("layer2.0.conv1.weight", 0),
                ("layer2.0.bn1.weight", 0),
                ("layer2.0.bn1.bias", 0),
                ("layer2.0.bn1.running_mean", 0),
                ("layer2.0.bn1.running_var", 0),
                ("layer2.0.conv2.weight", 1),
            ):
                for kind in ("value", "momentum"):
                    old, new = before.get((path, kind)), after.get((path, kind))
                    if new is None:
                        assert "running" in path
                        continue
                    old = torch.zeros_like(new) if old is None else old
                    chosen = gate.selected
                    assert torch.equal(
                        old.index_select(dim, torch.tensor(rest)), new.index_select(dim, torch.tensor(rest))
                    )
                    assert not torch.equal(old.index_select(dim, chosen), new.index_select(dim, chosen)), (path, kind)

    @pytest.mark.parametrize(
        "name",
        ["resnet20", *(pytest.param(n, marks=pytest.mark.e2e) for n in ("resnet50", "vgg16_bn", "mobilenet_v2"))],
    )
    def test_a_training_step_runs_on_smaller_tensors(self, name: str) -> None:
        network, gates, form = prepared(name, 0.5)
        widths: dict[str, int] = {}
        for path, module in form.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                continue
            module.register_forward_hook(
                lambda _, args, result, path=path: (
                    widths.__setitem__(path, result.shape[1])
                    if isinstance(result, Tensor) and result.ndim == 4
                    else None
                )
            )
        for gate in gates.values():
            gate.set_progress(0.0)
        form(images(network, 2)).square().mean().backward()
        for site in gates:
            assert widths[network.sites[site].convs[0].name] == len(gates[site].kept) < network.sites[site].channels

    def test_a_step_through_concatenations_changes_the_selected_slices_and_nothing_else(self) -> None:
        network, gates, form = prepared("densenet40", 0.5)
        optimiser = optimiser_for(list(form.parameters()), RECIPE, form)
        one_step(form, gates, optimiser, images(network, 4), 0.0)
        before = {parameter: parameter.detach().clone() for parameter in form.parameters()}
        one_step(form, gates, optimiser, images(network, 4), 0.1)
        in_use = selections(form)
        assert len(in_use) == len(before) - 1  # all but the bias of the linear layer
        for parameter, old in before.items():
            outside = torch.ones_like(parameter, dtype=torch.bool)
            if parameter in in_use:
                sizes_and_parts = zip(outside.shape, in_use[parameter], strict=False)
                where = [torch.arange(size) if part is None else part for size, part in sizes_and_parts]
                outside[torch.meshgrid(*where, indexing="ij")] = False
                assert torch.equal(parameter[outside], old[outside])
            assert not torch.equal(parameter, old)

    @pytest.mark.parametrize("name", ["resnet20", "densenet40"])
    def test_selected_training_is_training_of_the_sliced_network(self, name: str) -> None:
        network, gates, form = prepared(name, 0.5)
        for gate in gates.values():
            gate.set_progress(0.0)
            gate.kept.copy_(gate.selected)
        x = images(network, 4)
        live = form.train()(x)
        # In training mode, with batch statistics: mask after the normalisation, all channels computed.
        for gate in gates.values():
            gate.selected = None
        for module in form.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0
        assert_close(form(x), live, 1e-4)

    def test_every_channel_runs_before_any_runs_twice(self) -> None:
        network, gates, form = prepared("resnet20", 0.7)
        optimiser = optimiser_for(list(form.parameters()), RECIPE, form)
        seen: set[int] = set()
        for step in range(4):  # 10 of 32 channels at a time
            one_step(form, gates, optimiser, images(network, 4, step), 0.0)
            seen.update(gates[SITE].selected.tolist())
        assert seen == set(range(32))

    @pytest.mark.parametrize("reward", ["taylor", "bn_gamma", "activation"])
    def test_rewards_are_shares_of_the_largest(self, reward: str) -> None:
        network, gates, form = prepared("resnet20", 0.5, {"reward.dce": reward})
        optimiser = optimiser_for(list(form.parameters()), RECIPE, form)
        for step in range(2):
            one_step(form, gates, optimiser, images(network, 4, step), 0.0)
        mean = gates[SITE].bandit.mean
        assert (mean >= 0).all()
        assert (mean <= 1).all()
        assert int((mean == 1).sum()) == 2  # the best of each half
        assert (mean > 0).sum() > 16

    def test_a_choice_frozen_before_the_first_step_stays_what_it_was(self) -> None:
        network = own_copy(known_network("resnet20"))
        policy = canonical(Policy({SITE: Gate("dce", {"ratio": 0.5})}, {"freeze.dce": 0.0}), network.sites)
        gate = attach_gates(network, policy)[SITE]
        before = gate.kept.clone()
        gate.begin()
        gate.set_progress(0.0)
        assert torch.equal(gate.kept, before)

    def test_the_best_channels_are_frozen_and_delivered(self) -> None:
        network, gates, form = prepared("resnet20", 0.5)
        optimiser = optimiser_for(list(form.parameters()), RECIPE, form)
        for fraction in (0.0, 0.2, 0.4, 0.7, 0.9):
            one_step(form, gates, optimiser, images(network, 4), fraction)
        gate = gates[SITE]
        assert torch.equal(gate.kept, gate.bandit.best())
        assert torch.equal(gate.selected, gate.kept)
        policy = canonical(Policy({name: Gate("dce", {"ratio": 0.5}) for name in gates}), network.sites)
        compact = compact_form(network, policy, gates)
        assert compact.get_submodule("layer2.0.conv1").weight.shape == (16, 16, 3, 3)
        x = images(network, 3)
        with torch.no_grad():
            assert_close(compact(x), form.eval()(x))


def prepared(
    name: str, ratio: float, knobs: dict[str, str] | None = None
) -> tuple[Network, dict[str, BanditGate], nn.Module]:
    """Return a network with a gate at every inner map, about to be trained by the family's own procedure."""
    network = own_copy(known_network(name))
    places = [site.name for site in network.sites.values() if site.has_producer]
    policy = canonical(Policy(dict.fromkeys(places, Gate("dce", {"ratio": ratio})), knobs or {}), network.sites)
    gates = attach_gates(network, policy)
    form = training_form(network, gates).train()
    for gate in gates.values():
        gate.begin()
    return network, gates, form


def one_step(form, gates, optimiser, x, fraction) -> None:  # type: ignore[no-untyped-def]
    for gate in gates.values():
        gate.set_progress(fraction)
    optimiser.zero_grad(set_to_none=True)
    logits = form.train()(x)
    F.cross_entropy(logits, torch.arange(len(x)) % logits.shape[1]).backward()
    for gate in gates.values():
        gate.after_backward()
    optimiser.step()


def snapshot(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[tuple[str, str], Tensor]:
    """Return values of all parameters and statistics, and momenta."""
    found = {(name, "value"): value.detach().clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer") if parameter in optimiser.state else None
        if buffer is not None:
            found[(name, "momentum")] = buffer.clone()
    return found
