"""Candidates that are scored in eight bits are scored as the runtime computes them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from autogate.errors import AutoGateError
from autogate.goals import make_config
from autogate.nas.evaluating import Deployment, Task, TrainingEvaluator
from autogate.policy import Gate, Policy
from autogate.runtimes import DeployedNetwork
from autogate.space import load_space
from autogate.studies import Reporter
from autogate.surgery import canonical
from autogate.training import Recipe, TrainingBackend
from tests.support.data import few_digits
from tests.support.networks import known_network, own_copy

CPU = torch.device("cpu")


@pytest.mark.e2e  # another process
@pytest.mark.parametrize("gate", [Gate("magnitude", {"ratio": 0.5}), Gate("lcnet")])
def test_short_scores_are_of_the_quantised_network_and_full_ones_of_the_trained(gate: Gate) -> None:
    network, data, seen = own_copy(known_network("resnet20")), few_digits(), []

    def score(form: nn.Module, part: str) -> float:
        seen.append(form)
        return 0.5 if isinstance(form, DeployedNetwork) else 0.75

    task = Task(network, data, data.preprocessing, CPU, CPU, "resnet20", 0)
    backend = TrainingBackend(train_fn=lambda form, fidelity: None, score_fn=score)
    recipes: Any = dict.fromkeys(("short", "full"), Recipe(images=1, lr=0.1))
    fixed = (task, "task", network, {}, "start", 0, backend, recipes)
    policy = canonical(Policy({"map:layer2.0.conv1": gate}), network.sites)
    plain, deployed = TrainingEvaluator(*fixed), TrainingEvaluator(*fixed, Deployment("onnxruntime", "int8", 1, 1))
    assert plain.key(policy, "short") != deployed.key(policy, "short")
    assert plain.key(policy, "full") == deployed.key(policy, "full")
    assert deployed.train(policy, "short", Reporter()).val_accuracy == 0.5
    assert deployed.train(policy, "full", Reporter()).val_accuracy == 0.75
    assert plain.train(policy, "short", Reporter()).val_accuracy == 0.75
    [quantised] = [form for form in seen if isinstance(form, DeployedNetwork)]
    with torch.no_grad():
        assert quantised(data.val.first_images(3)).shape == (3, 10)


def test_scores_in_eight_bits_are_for_networks_in_eight_bits() -> None:
    space = load_space("drop").to_json()
    with pytest.raises(AutoGateError, match="--score-quantized needs --dtype int8, not float32"):
        make_config(space=space, latency_budget="75%", score_quantized=True)
