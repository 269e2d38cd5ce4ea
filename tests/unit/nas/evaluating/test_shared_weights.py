"""Shared weights: what a study stores is what its candidates start from."""

from __future__ import annotations

import safetensors.torch
import torch

from autogate.goals import make_config
from autogate.nas.evaluating import Task, TrainingEvaluator
from autogate.nas.evaluating.shared_weights import bank_path, bank_paths, has_weights_in, make_evaluator
from autogate.policy import DENSE, Gate, Policy
from autogate.records import StudyFacts, TaskFacts
from autogate.space import parse_space
from autogate.space.bound import BoundSpace, bind
from autogate.studies import Reporter
from autogate.surgery import canonical, pack
from autogate.training import TrainingBackend, make_bank
from tests.support.data import few_digits
from tests.support.networks import known_network, own_copy

CPU = torch.device("cpu")
NETWORK = known_network("resnet20")
SPACE = parse_space(
    {"schema": "autogate.space/1", "sites": {"block": [{"family": "drop"}, {"family": "lcnet"}]}}, "test"
)
SITE = "block:layer1.1"
GATE = canonical(Policy({SITE: Gate("lcnet")}), NETWORK.sites).gates[SITE]
UNTRAINED = TrainingBackend(train_fn=lambda form, fidelity: None, score_fn=lambda form, part: 0.5)


def space() -> BoundSpace:
    return bind(SPACE, NETWORK.sites)


def stored(seed: int) -> bytes:
    """Return shared weights as another process would have stored them: every parameter is larger by an eighth."""
    network = own_copy(NETWORK)
    bank = make_bank(network, space(), seed)
    with torch.no_grad():
        for part in (network.model, *bank.values()):
            for parameter in part.parameters():
                parameter.add_(0.125)
    return pack(network.model, bank_paths(bank))


def evaluator_from(content: bytes) -> TrainingEvaluator:
    data = few_digits()
    task = Task(NETWORK, data, data.preprocessing, CPU, CPU, "resnet20", 0)
    config = make_config(space=SPACE.to_json(), pareto=True, device="cpu", seed=0)
    facts = StudyFacts(TaskFacts("task"), shared_artifact="artifact")
    return make_evaluator(config, facts, task, UNTRAINED, space(), content)


def test_candidates_start_from_the_stored_weights_and_the_task_keeps_its_own() -> None:
    dense = {name: value.clone() for name, value in NETWORK.model.named_parameters()}
    model = evaluator_from(stored(seed=7)).train(DENSE, "short", Reporter()).network.model
    for name, value in model.named_parameters():
        assert torch.equal(value, dense[name] + 0.125)
    assert all(torch.equal(value, dense[name]) for name, value in NETWORK.model.named_parameters())


def test_gates_start_from_the_stored_ones_whatever_the_seed() -> None:
    content = stored(seed=7)
    trained = evaluator_from(content).train(Policy({SITE: GATE}), "short", Reporter()).gates[SITE]
    prefix = f"gate.{bank_path(SITE, GATE)}."
    expected = {
        name.removeprefix(prefix): value
        for name, value in safetensors.torch.load(content).items()
        if name.startswith(prefix)
    }
    found = dict(trained.named_parameters())
    assert found
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_only_gates_whose_weights_are_stored_are_known() -> None:
    tensors, name = safetensors.torch.load(stored(seed=0)), bank_path(SITE, GATE)
    has_all = has_weights_in(safetensors.torch.save(tensors))
    has_others = has_weights_in(
        safetensors.torch.save({key: value for key, value in tensors.items() if f".{name}." not in key})
    )
    assert has_all(SITE, GATE)
    assert not has_others(SITE, GATE)
    assert has_others("block:layer1.2", GATE)
    # A gate without weights needs none.
    assert has_others(SITE, Gate("drop"))
