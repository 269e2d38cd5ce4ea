"""Trainings that are interrupted go on as if nothing had happened."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from autogate.errors import TrainingError
from autogate.policy import Gate, Policy
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.surgery import attach_gates, canonical, training_form
from autogate.training import Recipe, TrainingBackend, clone, make_bank, train_shared
from tests.support.data import few_digits
from tests.support.networks import known_network, own_copy

CPU = torch.device("cpu")
BLOCK, MAP = "block:layer1.1", "map:layer1.0.conv1"
STEPS, BATCH = 12, 8
GATES: dict[str, tuple[str, Gate, dict[str, Any]]] = {
    "antidote": (MAP, Gate("antidote", {"channel_ratio": 0.5}), {"targeted_dropout.antidote": 0.5}),
    "dce": (MAP, Gate("dce", {"ratio": 0.5}), {}),
    "gss": (MAP, Gate("gss", {"ratio": 0.5}), {"control.gss": "bisect"}),
    "lcnet": (BLOCK, Gate("lcnet", {"target": 0.5}), {"estimator.lcnet": "gumbel"}),
    "mod": (BLOCK, Gate("mod", {"c": 8}), {}),
}


class Interrupted(Exception):
    pass


class MemoryKeeper:
    """Keeps the state after every step, and pulls the plug after one of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.state: bytes | None = None
        self.stop_after = stop_after
        self.saved: list[int] = []

    def load(self) -> bytes | None:
        return self.state

    def is_due(self) -> bool:
        return True

    def save(self, state: bytes, images: int) -> None:
        self.state = state
        self.saved.append(images)
        if len(self.saved) == self.stop_after:
            raise Interrupted


def train(family: str, checkpointer: MemoryKeeper | None = None) -> dict[str, torch.Tensor]:
    network = own_copy(known_network("resnet20"))
    site, gate, training = GATES[family]
    policy = canonical(Policy({site: gate}, training), network.sites)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        form = training_form(network, attach_gates(network, policy))
    recipe = Recipe(images=STEPS * BATCH, lr=0.05, batch_size=BATCH)
    TrainingBackend().train(form, few_digits().train, recipe, "full", seed=3, device=CPU, checkpointer=checkpointer)
    return dict(form.state_dict())


@pytest.mark.parametrize("family", GATES)
def test_an_interrupted_training_ends_as_one_that_was_not(family: str) -> None:
    whole = train(family)
    checkpointer = MemoryKeeper(stop_after=7)
    with pytest.raises(Interrupted):
        train(family, checkpointer)
    assert checkpointer.saved == [BATCH * step for step in range(1, 8)]
    rest = MemoryKeeper()
    rest.state = checkpointer.state
    resumed = train(family, rest)
    assert rest.saved == [BATCH * step for step in range(8, STEPS + 1)]
    assert set(resumed) == set(whole)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


@pytest.mark.e2e
def test_shared_weights_too() -> None:
    def shared(checkpointer: MemoryKeeper | None) -> dict[str, torch.Tensor]:
        network = clone(known_network("resnet20"))
        space = bind(load_space("mod"), network.sites)
        bank = make_bank(network, space, 0)
        recipe = Recipe(images=5 * BATCH, lr=0.02, batch_size=BATCH)
        data = few_digits().train
        train_shared(
            network, space, bank, data, recipe, fastest=Policy(), seed=1, device=CPU, checkpointer=checkpointer
        )
        return dict(nn.ModuleList([network.model, *bank.values()]).state_dict())

    whole = shared(None)
    checkpointer = MemoryKeeper(stop_after=3)
    with pytest.raises(Interrupted):
        shared(checkpointer)
    rest = MemoryKeeper()
    rest.state = checkpointer.state
    resumed = shared(rest)
    assert len(rest.saved) == 2
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_the_state_of_another_training_is_refused() -> None:
    checkpointer = MemoryKeeper(stop_after=1)
    with pytest.raises(Interrupted):
        train("dce", checkpointer)
    other = MemoryKeeper()
    other.state = checkpointer.state
    with pytest.raises(TrainingError, match="does not fit the network"):
        train("mod", other)
