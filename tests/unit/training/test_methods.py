"""Families whose training makes the structure, trained by the loop that finalists are trained with."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from autogate.errors import TrainingError
from autogate.gates.estimators import ESTIMATORS
from autogate.nas.evaluating import Task, TrainingEvaluator
from autogate.policy import Gate, Policy
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.studies import Reporter
from autogate.surgery import attach_gates, canonical, compact_form, gate_path, training_form
from autogate.training import Fidelity, Recipe, TrainingBackend, make_bank, recalibrate, score, train_shared
from tests.support.data import few_digits
from tests.support.networks import assert_close, images, known_network, own_copy

CPU = torch.device("cpu")
SITES = ("map:layer1.0.conv1", "map:layer2.0.conv1")


def trained(family: str, fidelity: Fidelity, methods: TrainingBackend | None = None) -> tuple[Any, ...]:
    network = own_copy(known_network("resnet20"))
    policy = canonical(Policy(dict.fromkeys(SITES, Gate(family, {"ratio": 0.5}))), network.sites)
    gates = attach_gates(network, policy)
    start = {site: gate.kept.clone() for site, gate in gates.items()}
    form = training_form(network, gates)
    recipe = Recipe(images=40 * 8, lr=0.05, batch_size=8)
    (methods or TrainingBackend()).train(form, few_digits().train, recipe, fidelity, seed=0, device=CPU)
    compact = compact_form(network, policy, gates)
    x = images(network, 3)
    with torch.no_grad():
        assert_close(compact(x), form.eval()(x))
    return gates, start


@pytest.mark.e2e
def test_dce_keeps_what_its_bandit_found_best() -> None:
    gates, start = trained("dce", "full")
    for gate in gates.values():
        assert gate.bandit.step == 24  # frozen after 0.6 of 40 steps
        assert (gate.bandit.plays >= 1).all()
        assert torch.equal(gate.kept, gate.bandit.best())
    assert any(not torch.equal(gate.kept, start[site]) for site, gate in gates.items())


@pytest.mark.e2e
def test_gss_keeps_what_its_loss_left_largest() -> None:
    gates, start = trained("gss", "full")
    assert all(not gate.sorting for gate in gates.values())
    assert any(not torch.equal(gate.kept, start[site]) for site, gate in gates.items())


@pytest.mark.parametrize("family", ["dce", "gss"])
def test_candidates_are_slices_by_magnitude(family: str) -> None:
    gates, start = trained(family, "short")
    assert all(torch.equal(gate.kept, start[site]) for site, gate in gates.items())


def test_a_training_of_the_callers_own_keeps_the_slices() -> None:
    def own(form: nn.Module, fidelity: Fidelity) -> None:
        form(torch.randn(2, 3, 32, 32)).sum().backward()

    gates, start = trained("dce", "full", TrainingBackend(train_fn=own))
    assert all(torch.equal(gate.kept, start[site]) for site, gate in gates.items())


def test_a_loss_that_is_not_finite_says_when_and_how_the_gates_stood() -> None:
    network = own_copy(known_network("resnet20"))
    policy = canonical(Policy({"block:layer1.1": Gate("lcnet")}), network.sites)
    form = training_form(network, attach_gates(network, policy))
    recipe = Recipe(images=4000, lr=1e20, batch_size=32)
    message = r"the loss became (nan|inf) in epoch \d; try a lower --lr \(gates: block:layer1\.1 "
    with pytest.raises(TrainingError, match=message):
        TrainingBackend().train(form, few_digits().train, recipe, "full", seed=0, device=CPU)


def test_gates_with_weights_can_be_copied_in_the_middle_of_their_training() -> None:
    network = own_copy(known_network("resnet20"))
    space = bind(load_space("unified"), network.sites)
    bank = make_bank(network, space, seed=0)
    fastest = Policy({"block:layer1.1": Gate("drop")})
    recipe = Recipe(images=4 * 8, lr=0.01, batch_size=8)
    train_shared(network, space, bank, few_digits().train, recipe, fastest=fastest, seed=0, device=CPU)
    open_now = [gate for gate in bank.values() if getattr(gate, "opening", None) is not None]
    assert open_now
    for gate in open_now:
        for mine, other in zip(gate.parameters(), copy.deepcopy(gate).parameters(), strict=True):
            assert torch.equal(mine, other)
            assert mine is not other


def test_a_candidate_starts_from_the_shared_gate_and_trains_it_with_its_own_knobs() -> None:
    network, site = own_copy(known_network("resnet20")), "block:layer1.1"
    data = few_digits()
    gate = canonical(Policy({site: Gate("lcnet")}), network.sites).gates[site]
    bank = make_bank(network, bind(load_space("unified"), network.sites), seed=0)
    shared = bank[(site, gate)]
    task = Task(network, data, data.preprocessing, CPU, CPU, "resnet20", 0)
    untrained = TrainingBackend(train_fn=lambda form, fidelity: None, score_fn=lambda form, part: 0.5)
    recipes = dict.fromkeys(("short", "full"), Recipe(images=1, lr=0.1))
    evaluator = TrainingEvaluator(task, "task", network, bank, "start", 0, untrained, recipes)
    policy = canonical(Policy({site: gate}, {"warm_up.lcnet": 0.5, "estimator.lcnet": "gumbel"}), network.sites)
    trained = evaluator.train(policy, "short", Reporter()).gates[site]
    assert trained is not shared
    assert (trained.warm_up, shared.warm_up) == (0.5, 0.1)
    assert trained.estimator is ESTIMATORS["gumbel"]
    for mine, other in zip(trained.parameters(), shared.parameters(), strict=True):
        assert torch.equal(mine, other)
        assert mine is not other


def test_recalibration_takes_the_statistics_of_the_gated_network() -> None:
    network = own_copy(known_network("resnet20"))
    policy = canonical(Policy(dict.fromkeys(SITES, Gate("magnitude", {"ratio": 0.5}))), network.sites)
    form = training_form(network, attach_gates(network, policy))
    split = few_digits().train
    recalibrate(form, split, seed=0, device=CPU)
    seen: list[torch.Tensor] = []
    norm = network.model.get_submodule("layer1.0.bn2")
    handle = norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        for batch, _ in split.batches(128, shuffle_seed=0, limit=2048):
            form(batch)
    handle.remove()
    means = torch.stack([x.mean(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    # Later layers normalise with the new statistics instead of the batch's own, so that it is not exact.
    assert torch.allclose(norm.running_mean, means, atol=0.05 * float(means.abs().max()))
    assert norm.momentum == 0.1
    assert not norm.training


def test_scoring_records_what_varying_gates_decide_image_by_image() -> None:
    network = own_copy(known_network("resnet20"))
    block, place = "block:layer1.1", "map:layer2.0.conv1"
    policy = canonical(Policy({block: Gate("lcnet", {"tau": 0.9}), place: Gate("lcnet", {"tau": 0.9})}), network.sites)
    torch.manual_seed(0)
    gates = attach_gates(network, policy)
    for gate in gates.values():
        gate.predictor.score.weight.data.normal_()
    form, split = training_form(network, gates), few_digits().val
    _, realisation = score(form, split, device=CPU)
    expected: dict[str, list[int]] = {block: [], place: []}
    with torch.no_grad():
        for image, _ in split.batches(1, limit=20):
            form(image)
            for site, gate in gates.items():
                expected[site] += gate.decision.tolist()
    for site, decisions in expected.items():
        trace = realisation.decisions[gate_path(site)]
        assert list(trace[:20]) == decisions
        assert len(trace) == len(split)
        assert len(set(trace)) > 1


@pytest.mark.parametrize(
    ("family", "site", "stood"),
    [
        ("mod", "block:layer1.1", r"1 channels, results up to"),
        ("antidote", "map:layer1.1.conv1", r"leaves out 0.5 of channels"),
        ("magnitude", "map:layer1.1.conv1", r"8 of 16 channels"),
        ("dce", "map:layer1.1.conv1", r"step \d+, rewards"),
        ("gss", "map:layer1.1.conv1", r"norms \S+ to"),
    ],
)
def test_how_gates_stood_is_said(family: str, site: str, stood: str) -> None:
    network = own_copy(known_network("resnet20"))
    genes = {"channel_ratio": 0.5} if family == "antidote" else {}
    policy = canonical(Policy({site: Gate(family, genes)}), network.sites)
    form = training_form(network, attach_gates(network, policy))
    recipe = Recipe(images=4000, lr=1e20, batch_size=32)
    with pytest.raises(TrainingError, match=stood):
        TrainingBackend().train(form, few_digits().train, recipe, "full", seed=0, device=CPU)


def test_layers_train_in_bfloat16_and_weights_stay_in_float32() -> None:
    network = own_copy(known_network("resnet20"))
    space = bind(load_space("unified"), network.sites)
    bank = make_bank(network, space, seed=0)
    seen: dict[str, set[torch.dtype]] = {"training": set(), "evaluation": set()}
    network.model.layer1[0].conv1.register_forward_hook(
        lambda module, inputs, output: seen["training" if torch.is_grad_enabled() else "evaluation"].add(output.dtype)
    )
    recipe, data = Recipe(images=2 * 8, lr=0.01, batch_size=8, bfloat16=True), few_digits(8)
    fastest = Policy({"block:layer2.1": Gate("drop")})
    train_shared(network, space, bank, data.train, recipe, fastest=fastest, seed=0, device=CPU)
    form = training_form(network, attach_gates(network, fastest))
    TrainingBackend().train(form, data.train, recipe, "short", seed=0, device=CPU)
    assert seen == {"training": {torch.bfloat16}, "evaluation": set()}
    recalibrate(form, data.train, seed=0, device=CPU)
    score(form, data.val, device=CPU)
    assert seen["evaluation"] == {torch.float32}
    assert {value.dtype for value in form.state_dict().values()} == {torch.float32, torch.int64}
