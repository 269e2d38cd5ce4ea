"""Results: typed attributes, and exactly the JSON document that the command line prints."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

import autogate
from autogate.records import Comparison, EnergyComparison, Measurement, PeakMemory
from autogate.store import Store
from autogate.studies import describe_document, history_document, pareto_document, study_line


def test_a_study_in_a_list(recorded: str) -> None:
    first, second = autogate.list_studies(storage=recorded)
    assert (first.name, first.goal, first.model, first.trials, first.finalists) == (
        "budget",
        "80%",
        "goldnet:build",
        8,
        1,
    )
    assert second.name == "largest drop"
    assert first.to_json() == study_line(Store(recorded), "budget")
    with pytest.raises(FrozenInstanceError):
        first.document = {}  # type: ignore[misc]


def test_a_document_that_is_changed_changes_no_result(recorded: str) -> None:
    found = autogate.describe_study("budget", storage=recorded)
    found.to_json()["config"]["model"] = "another"
    assert found.to_json() == describe_document(Store(recorded), "budget")
    assert (found.name, found.config["model"], found.label) == ("budget", "goldnet:build", "predicted")
    assert found.device == Store(recorded).study("budget").facts.target.setting.device_name  # type: ignore[union-attr]
    assert found.weights_bytes > 0
    assert 0 < (found.hypervolume or 0) < 1


def test_history(recorded: str) -> None:
    found = autogate.history("budget", storage=recorded)
    assert found.to_json() == history_document(Store(recorded), "budget")
    assert found.points == tuple(Store(recorded).fronts("budget"))
    assert len(found.points) == 8


def test_a_study_and_its_front(recorded: str) -> None:
    shown, judged = autogate.show_study("budget", storage=recorded), autogate.pareto("budget", storage=recorded)
    assert judged.to_json() == pareto_document(Store(recorded), "budget")
    assert shown.front == judged.front
    assert shown.best == judged.best_measured
    assert shown.best is not None
    assert shown.best["trial"] == autogate.load_study("budget", storage=recorded).finalist("best").trial
    assert shown.closest is None
    assert judged.best_predicted in judged.front
    tight = autogate.pareto("budget", latency_budget="1us", storage=recorded)
    assert (tight.best_predicted, tight.best_measured) == (None, None)
    assert tight.to_json()["closest_measured"]["trial"] == shown.best["trial"]


def test_predictions(recorded: str) -> None:
    found = autogate.predict("budget", storage=recorded)
    document = found.to_json()
    assert document["schema"] == "autogate.predict/1"
    assert found.ratio == document["ratio"] == pytest.approx(found.latency_ms / found.dense_ms)
    assert found.upper_ms >= found.latency_ms
    assert (found.error, found.unseen_share) == (document["error"], document["unseen_share"])
    decisions = autogate.predict_many("budget", storage=recorded).decisions
    many = autogate.predict_many("budget", np.zeros((3, len(decisions)), dtype=int), storage=recorded)
    assert isinstance(many.latency_ms, np.ndarray)
    document = json.loads(json.dumps(many.to_json()))
    assert document["schema"] == "autogate.predict-many/1"
    assert document["predicted_ms"] == pytest.approx([many.dense_ms] * 3)


def test_explanations(recorded: str) -> None:
    found = autogate.explain("budget", storage=recorded)
    assert found.to_json()["schema"] == "autogate.explain/1"
    assert found.dense_ms == pytest.approx(sum(unit["dense_ms"] for unit in found.units), rel=0.05)
    assert {gate["site"] for gate in found.gates} <= {site for unit in found.units for site in unit["sites"]}


def test_measurements(recorded: str) -> None:
    target = Store(recorded).study("budget").facts.target
    assert target is not None
    dense, gated = (Measurement(ms, ms, ms, ms, (ms, ms), 8, 5) for ms in (2.0, 1.0))
    energy = EnergyComparison(0.2, 0.1, (0.09, 0.11), 0.5, (0.4, 0.6), 5)
    memory = PeakMemory(2048, 1024).to_json()

    def result(counted: EnergyComparison | None) -> autogate.Measurement:
        comparison = Comparison(dense, gated, 0.5, (0.45, 0.55), target.setting, counted)
        return autogate.Measurement({**comparison.to_json(), "peak_memory": memory})

    found = result(energy)
    assert (found.latency_ms, found.dense_ms, found.ratio, found.ratio_interval) == (1.0, 2.0, 0.5, (0.45, 0.55))
    assert (found.peak_memory_bytes, found.dense_peak_memory_bytes, found.energy_ratio) == (1024, 2048, 0.5)
    assert result(None).energy_ratio is None


@pytest.mark.e2e
def test_sensitivity_of_a_module() -> None:
    from autogate.models import load_model

    found = autogate.sensitivity(load_model("resnet20").module, "digits", family="drop", images=16, input_size=32)
    document = found.to_json()
    assert found.dense_accuracy == document["dense_accuracy"]
    assert {curve["site"] for curve in found.curves} >= {"block:layer1.1", "block:layer3.2"}


def test_the_doctor(recorded: str, tmp_path: Path) -> None:
    found = autogate.doctor(storage=recorded)
    assert found.to_json()["studies"] == ["budget", "largest drop"]
    assert "torch" in found.packages
    assert found.cpu == found.to_json()["cpu"]
    assert isinstance(found.quiet, bool)
    assert found.gpus == tuple(found.to_json()["gpus"])
    nowhere = autogate.doctor(storage=f"sqlite:///{tmp_path / 'nowhere.db'}")
    assert "there is no study database" in nowhere.to_json()["studies"]


@pytest.mark.e2e
def test_databases(recorded: str, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    copied = autogate.copy_study("budget", to=there, name="again", storage=recorded)
    assert (copied.name, copied.to) == ("again", there)
    written = autogate.export_study("budget", tmp_path / "study.jsonl", storage=recorded)
    read = autogate.import_study(tmp_path / "study.jsonl", name="third", storage=recorded)
    assert (written.study, written.file, read.study) == ("budget", str(tmp_path / "study.jsonl"), "third")
    upgraded = autogate.upgrade_studies(storage=recorded)
    assert upgraded.before == upgraded.after == upgraded.to_json()["to"]
    for name in ("budget", "largest drop", "third"):
        autogate.delete_study(name, storage=recorded)
    removed = autogate.vacuum_studies(storage=recorded)
    assert min(removed.evaluations, removed.policies, removed.weights, removed.weights_bytes) > 0


def test_a_replay(recorded: str) -> None:
    found = autogate.replay("budget", name="again", trials=4, sampler="random", storage=recorded)
    document = found.to_json()
    assert document["schema"] == "autogate.replay/1"
    assert (found.study, found.best_trial) == ("again", document["best_trial"])
    assert (found.hypervolume, found.seconds) == (document["hypervolume"], document["seconds"])
    last = autogate.history("again", storage=recorded).points[-1]
    assert (found.best_trial, found.best_val_accuracy) == (last.best_trial, last.best_val_accuracy)


def test_sites_are_results() -> None:
    found = autogate.find_sites("resnet20")[0]
    assert (found.name, found.kind, found.reason) == ("block:layer1.0", "block", "")
    assert found.to_json()["families"] == list(found.families)
