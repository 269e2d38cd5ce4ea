"""A study as Python sees it: its winner as a network, its trials, its front."""

from __future__ import annotations

import builtins
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn

import autogate
from autogate.errors import AutoGateError, ExportError, ModelError, StudyError
from autogate.models import load_model
from autogate.store import Store


def test_the_winner_is_a_network(recorded: str) -> None:
    study = autogate.load_study("budget", storage=recorded)
    best = study.best_trial
    assert best is not None
    assert best in study.finalists
    assert study.best_policy == best.policy
    network = study.load_best_model()
    assert isinstance(network, nn.Module)
    assert not network.training
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    data = study._task(None, None).data
    scores, labels = [], []
    with torch.no_grad():
        for images, classes in data.test.batches(20):
            scores.append(network(images))
            labels.append(classes)
    accuracy = float((torch.cat(scores).argmax(1) == torch.cat(labels)).float().mean())
    # The database was made by an earlier version on another machine.
    assert accuracy == pytest.approx(best.test_accuracy, abs=0.03)


def test_an_export_is_a_network(recorded: str, tmp_path: Path) -> None:
    study = autogate.load_study("budget", storage=recorded)
    report = autogate.export("budget", tmp_path / "out", storage=recorded)
    assert report.test_accuracy == study.finalist("best").test_accuracy
    assert report.max_difference < 1e-4
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(autogate.load(tmp_path / "out")(x), study.load_best_model()(x), atol=1e-5)
    with pytest.raises(ExportError, match="is not an export"):
        autogate.load(tmp_path)


def test_trials_and_front(recorded: str) -> None:
    study = autogate.load_study("budget", storage=recorded)
    assert [trial.number for trial in study.trials] == list(range(8))
    document = study.document()
    assert [trial.number for trial in study.front] == [point["trial"] for point in document["front"]]


def test_the_front_of_a_study_for_another_device_is_drawn_as_predicted(recorded: str) -> None:
    study = autogate.load_study("budget", storage=recorded)
    figure = study.plot_front()
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["trained, predicted", "front", "dense, predicted"]
    trained = [trial for trial in study.trials if trial.val_accuracy is not None]
    assert list(traces["trained, predicted"].y) == [trial.val_accuracy for trial in trained]
    assert list(traces["front"].text) == [f"trial {trial.number}" for trial in study.front]
    assert study.facts.target is not None
    assert traces["dense, predicted"].x[0] == study.facts.target.dense_latency_ms
    assert [shape.x0 for shape in figure.layout.shapes] == [study.document()["budget_ms"]]


def test_trials_are_named_by_their_number(recorded: str) -> None:
    study = autogate.load_study("budget", storage=recorded)
    number = study.finalists[0].trial
    assert study.finalist(number) == study.finalist(str(number)) == study.finalists[0]
    assert study.policy(number) == study.policy(str(number))
    predicted = autogate.predict("budget", number, storage=recorded)
    assert predicted.to_json()["policy_digest"] == study.finalists[0].policy.digest
    assert autogate.show_study("budget", number, storage=recorded).to_json()["finalist"]["trial"] == number
    with pytest.raises(StudyError, match="no finalist of trial 99; finalists are the trials: "):
        study.export("nowhere", 99)


def test_trials_as_a_data_frame(recorded: str) -> None:
    pytest.importorskip("pandas")
    study = autogate.load_study("budget", storage=recorded)
    frame = study.trials_dataframe()
    assert list(frame["trial"]) == [trial.number for trial in study.trials]
    assert set(frame["outcome"]) == {trial.outcome for trial in study.trials}
    assert frame["predicted_p50_ms"].notna().any()


def test_a_data_frame_without_pandas_is_one_line(recorded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_pandas(name: str, *rest: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(AutoGateError, match="pip install pandas"):
        autogate.load_study("budget", storage=recorded).trials_dataframe()


def test_without_a_winner_there_is_no_network(recorded: str) -> None:
    config = Store(recorded).study("budget").config
    Store(recorded).set_config("budget", config.model_copy(update={"latency_budget": "1%"}))
    study = autogate.load_study("budget", storage=recorded)
    assert study.best_trial is None
    assert study.best_policy is None
    with pytest.raises(StudyError, match="no finalist that meets the budget"):
        study.load_best_model()


@pytest.mark.parametrize("example", [(3, 32, 32), torch.zeros(2, 3, 32, 32)])
def test_sites_of_a_module(example: Any) -> None:
    found = autogate.find_sites(load_model("resnet20").module, example)
    assert [site.name for site in found] == [site.name for site in autogate.find_sites("resnet20")]
    assert "drop" in next(site for site in found if site.kind == "block").families


@pytest.mark.parametrize("wrong", [(3, 32), torch.zeros(3, 32), (3, 32, 0), None])
def test_example_inputs_of_another_kind_are_one_line(wrong: Any) -> None:
    with pytest.raises(ModelError, match="example_inputs") as raised:
        autogate.find_sites(load_model("resnet20").module, wrong)
    assert "\n" not in str(raised.value)


def test_progress_is_logged_and_optuna_keeps_its_verbosity(recorded: str, caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO, logger="autogate"):
        autogate.replay("budget", name="again", trials=4, storage=recorded)
    assert optuna.logging.get_verbosity() == before
    said = [record.getMessage() for record in caplog.records if record.name == "autogate"]
    assert any(line.startswith("search: done after ") for line in said)
    assert sum(line.startswith("trial ") for line in said) == 4
