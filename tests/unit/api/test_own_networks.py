"""Modules of the caller stay as they are: on their device, in their mode, with their weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

import autogate
from autogate.errors import ModelError
from autogate.goals import SearchConfig, config_names, make_config
from autogate.models import load_model
from autogate.nas.evaluating import load_model_and_data, load_task
from autogate.policy import Gate, Policy
from autogate.space import load_space
from autogate.studies import Reporter
from tests.support.networks import lively

SHAPE = (3, 32, 32)


def config_for(model: nn.Module) -> SearchConfig:
    return make_config(**{**config_names(model, "digits"), "space": load_space("drop").to_json()}, latency_budget="60%")


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Check that the body changes neither weights, nor buffers, nor the modes of a module, nor which it trains."""
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    yield
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.fixture
def model() -> nn.Module:
    """Return a network in training mode, part of which is frozen."""
    model = load_model("resnet20").module.train()
    first = next(model.parameters())
    first.requires_grad_(False)
    return model


def test_a_study_trains_a_copy(model: nn.Module) -> None:
    with unchanged(model):
        task = load_task(config_for(model), Reporter(), model)
        task.network.model.to(torch.float64).eval()
        with torch.no_grad():
            for parameter in task.network.model.parameters():
                parameter.add_(1.0)


@pytest.mark.e2e
def test_functions_that_look_at_a_module_leave_it(model: nn.Module) -> None:
    policy = Policy({"block:layer1.1": Gate("drop")})
    with unchanged(model):
        autogate.find_sites(model, SHAPE)
        autogate.sensitivity(model, "digits", family="drop", images=16, input_size=32)
        compact = autogate.compact_model(model, policy, SHAPE)
        with torch.no_grad():
            for parameter in compact.parameters():
                parameter.add_(1.0)


@pytest.mark.e2e
def test_reading_a_study_leaves_the_module(recorded: str, tmp_path: Path) -> None:
    model = lively(load_model("goldnet:build").module).train()
    with unchanged(model):
        study = autogate.load_study("budget", storage=recorded)
        trained = study.load_best_model(model=model)
        study.export(tmp_path / "out", model=model)
        loaded = autogate.load(tmp_path / "out", model=model)
    assert not {id(parameter) for parameter in model.parameters()} & {id(p) for p in trained.parameters()}
    x = torch.rand(1, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(trained(x), loaded(x), atol=1e-5)


def test_a_batch_says_what_a_network_takes() -> None:
    model, policy = lively(load_model("resnet20").module), Policy({"block:layer1.1": Gate("drop")})
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    applied = autogate.apply_policy(model, policy, images)
    compact = autogate.compact_model(model, policy, images, applied=applied)
    with torch.no_grad():
        assert torch.allclose(compact(images), applied.eval()(images), atol=1e-4)
        assert not torch.allclose(compact(images), model(images), atol=1e-4)


class Stuck(nn.Module):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise RuntimeError("Only leaf tensors\ncan be copied")


def test_a_module_that_cannot_be_copied_is_refused_in_one_line() -> None:
    with pytest.raises(ModelError, match="Stuck cannot be copied: Only leaf tensors; ") as raised:
        load_model_and_data(config_for(Stuck()), Stuck())
    assert "\n" not in str(raised.value)
