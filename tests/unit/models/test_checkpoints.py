"""Weights as training scripts store them: under prefixes, beside other things, averaged."""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from autogate.errors import WeightsError
from autogate.models import load_model, state_sha256

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """Weights of a ResNet-20 that no seed of a test gives."""
    return dict(load_model("resnet20", seed=99).module.state_dict())


def under(prefix: str, state: State, factor: float = 1.0) -> State:
    return {prefix + name: value * factor if value.is_floating_point() else value for name, value in state.items()}


def loaded(content: Any, path: Path) -> str | None:
    torch.save(content, path / "w.pth")
    return load_model("resnet20", weights=str(path / "w.pth")).weights_sha256


@pytest.mark.parametrize("seed", range(4))
def test_prefixes_come_in_any_order(tmp_path: Path, state: State, seed: int) -> None:
    prefixes = ["module.", "_orig_mod.", "model.", "net.backbone."]
    random.Random(seed).shuffle(prefixes)
    assert loaded(under("".join(prefixes[: 1 + seed]), state), tmp_path) == state_sha256(state)


def test_a_checkpoint_of_lightning(tmp_path: Path, state: State) -> None:
    beside = {"criterion.weight": torch.ones(10), "metric.total": torch.tensor(3)}
    content = {"epoch": 3, "state_dict": {**under("model.", state), **beside}, "optimizer_states": [{"state": {}}]}
    assert loaded(content, tmp_path) == state_sha256(state)


def test_averaged_weights_are_taken_and_that_is_said(
    tmp_path: Path, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    average = under("", state, 0.5)
    with caplog.at_level(logging.WARNING, "autogate"):
        assert loaded({"state_dict": state, "state_dict_ema": average}, tmp_path) == state_sha256(average)
    assert "took the averaged weights 'state_dict_ema'; it also holds 'state_dict'" in caplog.text


@pytest.mark.parametrize(
    "place",
    [("state_dict_ema",), ("model_ema",), ("ema", "shadow"), ("callbacks", "EMA", "weights"), ("anything",)],
)
def test_the_weights_are_found_under_any_name(tmp_path: Path, state: State, place: tuple[str, ...]) -> None:
    content: Any = {**under("module.", state), "n_averaged": torch.tensor(7)}
    for key in reversed(place):
        content = {key: content, "epoch": 2}
    assert loaded(content, tmp_path) == state_sha256(state)


def test_an_averaged_copy_within_one_state(tmp_path: Path, state: State) -> None:
    average = under("", state, 0.5)
    assert loaded({**under("net.", state), **under("net_ema.", average)}, tmp_path) == state_sha256(average)


def test_weights_of_swa(tmp_path: Path, state: State) -> None:
    module = load_model("resnet20", seed=99).module
    assert loaded(torch.optim.swa_utils.AveragedModel(module).state_dict(), tmp_path) == state_sha256(state)


def test_a_file_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    other = nn.Sequential(nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)).state_dict()
    content = {"generator": under("model.", other), "critic": other}
    with pytest.raises(WeightsError) as caught:
        loaded(content, tmp_path)
    text = str(caught.value)
    assert "4 tensors in 'generator', all names begin with 'model.'" in text
    assert "4 tensors in 'critic', such as '0.weight'" in text
    assert "torch.save(model.state_dict(), path)" in text


def run(program: str) -> None:
    """Run what ``python -c`` gets; what it allows torch to load is forgotten afterwards, as it is with a process."""
    before = torch.serialization.get_safe_globals()
    try:
        exec(program, {})  # noqa: S102 - that it runs is what is tested
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize("name", ["w.pth", 'it\'s "w" $HOME.pth'])
def test_the_command_that_saves_the_weights_alone_does(tmp_path: Path, state: State, name: str) -> None:
    path = tmp_path / name
    torch.save({"state_dict": under("model.", state), "hyper_parameters": argparse.Namespace(lr=0.1)}, path)
    with pytest.raises(
        WeightsError, match=r"pickled Python objects \(argparse.Namespace\).*which runs none of it"
    ) as caught:
        load_model("resnet20", weights=str(path))
    found = re.search(r"python -c .*$", str(caught.value))
    assert found
    assert "weights_only=True" in found[0]
    *_, program = shlex.split(found[0])
    run(program)
    saved = path.with_name(f"{path.stem}-weights.pth")
    assert load_model("resnet20", weights=str(saved)).weights_sha256 == state_sha256(state)


def test_the_command_takes_the_weights_out_of_a_whole_network(tmp_path: Path) -> None:
    module = torchvision.models.resnet18(num_classes=3)
    torch.save(module, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="weights_only=True") as caught:
        load_model("resnet18", weights=str(tmp_path / "w.pth"), num_classes=3)
    *_, program = shlex.split(str(caught.value)[str(caught.value).index("python -c ") :])
    run(program)
    saved = load_model("resnet18", weights=str(tmp_path / "w-weights.pth"), num_classes=3)
    assert saved.weights_sha256 == state_sha256(module.state_dict())


class Runs:
    """What makes a file run code when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "bad", [Runs(os.system, "true"), Runs(subprocess.Popen, ["true"]), Runs(eval, "1"), Runs(exec, "1")]
)
def test_no_command_is_offered_that_would_run_code_of_the_file(tmp_path: Path, state: State, bad: object) -> None:
    content = {"state_dict": state, "settings": argparse.Namespace(lr=0.1), "bad": bad}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"save the weights alone, with torch\.save\(model") as caught:
        load_model("resnet20", weights=str(tmp_path / "w.pth"))
    assert "python -c" not in str(caught.value)
