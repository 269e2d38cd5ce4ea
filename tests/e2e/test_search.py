"""One small search, for real: from a network and a budget to an exported, measured model."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import safetensors.torch
import torch

from autogate import api
from autogate.errors import ExportError, StorageError
from autogate.exporters import load_export
from autogate.policy import Policy
from autogate.store import Store
from tests.support.workplace import TRIALS, Workplace, start, winner

DOCUMENT = {
    "schema",
    "study",
    "storage",
    "device",
    "batch_size",
    "dtype",
    "runtime",
    "budget_ms",
    "budget_ms_search",
    "budget_binding",
    "latency_stat",
    "dense",
    "best",
    "closest",
    "front",
    "trials",
    "seconds",
}
WINNER = {
    "trial",
    "policy_digest",
    "policy",
    "val_accuracy",
    "test_accuracy",
    "macs_paper",
    "macs_realisable",
    "params",
    "predicted_ms",
    "measured_ms",
    "meets_budget",
}
MEASURED = {"mean", "p50", "p95", "max", "interval", "inputs", "repeats"}


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def evaluations(url: str, fidelity: str) -> int:
    return rows(url, f"select count(*) from autogate_evaluations where fidelity = '{fidelity}'")[0][0]  # noqa: S608


def optuna_states(url: str, study: str) -> list[str]:
    return [trial.state.name for trial in optuna.load_study(study_name=study, storage=url).get_trials(deepcopy=False)]


def test_the_document(document: dict[str, Any], study: api.Study) -> None:
    assert set(document) >= DOCUMENT
    assert document["schema"] == "autogate.search/1"
    assert document == api.show_study("first", storage=study.storage).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["batch_size"], document["dtype"], document["runtime"]) == (32, "float32", "eager")
    assert document["budget_binding"] is True
    assert (document["best"] is None) != (document["closest"] is None)
    found = winner(document)
    assert set(found) >= WINNER
    assert set(found["measured_ms"]) == MEASURED == set(document["dense"]["measured_ms"])
    assert set(found["predicted_ms"]) == {"p50", "p95", "upper"}
    assert document["budget_ms"] == pytest.approx(0.7 * document["dense"]["measured_ms"]["p50"])
    assert set(document["seconds"]) >= {"train dense", "train shared weights", "search"}
    # The stored profile was used: none was taken.
    assert "profile" not in document["seconds"]


def test_trials_end_as_counted(document: dict[str, Any], study: api.Study) -> None:
    trials = study.trials
    counts = document["trials"]
    assert counts["total"] == TRIALS == counts["complete"] + counts["rejected"] + counts["reused"]
    assert evaluations(study.storage, "short") == counts["complete"] >= 1
    # Dense comes first, and is over the budget; it is rejected before training.
    assert trials[0].policy.is_dense
    assert trials[0].outcome == "rejected"
    assert trials[0].val_accuracy is None
    for trial in trials:
        fits = trial.predicted["upper"] <= document["budget_ms_search"]
        assert fits == (trial.outcome != "rejected")


def test_the_winner_is_lighter_and_still_knows_digits(document: dict[str, Any]) -> None:
    found, dense = winner(document), document["dense"]
    assert found["predicted_ms"]["upper"] <= document["budget_ms_search"]
    assert found["macs_paper"] < dense["macs"]
    assert found["macs_realisable"] == pytest.approx(found["macs_paper"], rel=0.01)  # dropped blocks are really gone
    assert found["params"] < dense["params"]
    assert found["measured_ms"]["p50"] < dense["measured_ms"]["p50"]
    # Ten digits: far above chance, dense and gated.
    assert dense["val_accuracy"] > 0.6
    assert found["val_accuracy"] > 0.4
    assert found["test_accuracy"] > 0.4
    assert dense["test_accuracy"] > 0.6
    assert Policy.from_json(found["policy"]).digest == found["policy_digest"]


def test_the_front_holds_trained_candidates_by_speed(document: dict[str, Any]) -> None:
    front = document["front"]
    assert front
    times = [point["predicted_ms"]["p95"] for point in front]
    accuracies = [point["val_accuracy"] for point in front]
    assert times == sorted(times)
    assert accuracies == sorted(accuracies)


def test_prediction_and_measurement_agree_roughly(document: dict[str, Any]) -> None:
    """No claim about speed: the two are of one size, on whatever machine this is."""
    found = winner(document)
    assert 0.3 < found["predicted_ms"]["p50"] / found["measured_ms"]["p50"] < 3.0


def test_prediction_of_stored_policies(document: dict[str, Any], study: api.Study) -> None:
    number = winner(document)["trial"]
    result = api.predict("first", str(number), storage=study.storage).to_json()
    assert result["label"] == "predicted"
    assert result["predicted_ms"]["p50"] == pytest.approx(winner(document)["predicted_ms"]["p50"])
    dense = api.predict("first", Policy(), storage=study.storage).to_json()
    assert dense["ratio"] == pytest.approx(1.0)


def test_another_budget_trains_nothing(study: api.Study) -> None:
    before = evaluations(study.storage, "short"), evaluations(study.storage, "full")
    loose = api.pareto("first", latency_budget="95%", storage=study.storage).to_json()
    tight = api.pareto("first", latency_budget="1us", storage=study.storage).to_json()
    assert loose["schema"] == "autogate.pareto/1"
    assert loose["best_predicted"]["trial"] in {point["trial"] for point in loose["front"]}
    assert loose["budget_ms"] == pytest.approx(0.95 * loose["dense_predicted_ms"])
    assert tight["best_predicted"] is None
    assert tight["best_measured"] is None
    assert (evaluations(study.storage, "short"), evaluations(study.storage, "full")) == before


def test_what_is_exported(exported: Path, document: dict[str, Any]) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "inputs.safetensors",
        "model.pt2",
        "model.safetensors",
        "policy.json",
        "report.json",
    ]
    report = json.loads((exported / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "autogate.export/1"
    assert report["verified"]["images"] > 0
    assert report["verified"]["changed_predictions"] == 0
    assert report["verified"]["max_difference"] <= 1e-4
    assert report["preprocessing"]["input_size"] == 32
    assert report["setting"]["device"] == "cpu"
    assert report["torch"] == torch.__version__
    assert report["result"]["policy_digest"] == winner(document)["policy_digest"]
    policy = Policy.from_json(json.loads((exported / "policy.json").read_text(encoding="utf-8")))
    assert policy.digest == winner(document)["policy_digest"]


ALONE = """
import sys
sys.modules["autogate"] = None
import torch, safetensors.torch
program = torch.export.load(sys.argv[1] + "/model.pt2").module()
images = safetensors.torch.load_file(sys.argv[1] + "/inputs.safetensors")["images"]
with torch.no_grad():
    logits = torch.cat([program(part) for part in images.split(32)])
safetensors.torch.save_file({"logits": logits}, sys.argv[2])
assert sys.modules["autogate"] is None
"""


def test_the_program_runs_where_there_is_no_autogate(exported: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.safetensors"
    code = [sys.executable, "-I", "-c", ALONE, str(exported), str(answers)]
    subprocess.run(code, check=True, cwd=tmp_path, timeout=120)
    logits = safetensors.torch.load_file(str(answers))["logits"]
    rebuilt = load_export(exported)
    with torch.no_grad():
        expected = rebuilt.gated(rebuilt.images)
    assert len(logits) == len(rebuilt.images) >= 32
    assert (logits - expected).abs().max() <= 1e-4
    assert torch.equal(logits.argmax(1), expected.argmax(1))


def test_an_export_is_measured_beside_its_dense_network(exported: Path, document: dict[str, Any]) -> None:
    result = api.measure(exported, time_s=1.0).to_json()
    assert result["label"] == "measured"
    assert result["policy_digest"] == winner(document)["policy_digest"]
    low, high = result["ratio_interval"]
    assert low <= high
    assert result["setting"]["batch_size"] == 32
    assert api.measure(exported, time_s=0.5, batch_size=2).to_json()["setting"]["batch_size"] == 2
    assert 0 < result["gated"]["p50"] < result["dense"]["p50"]


def test_exports_replace_exports_and_nothing_else(exported: Path, study: api.Study, document: dict[str, Any]) -> None:
    number = str(winner(document)["trial"])
    study.export(exported, trial=number)
    assert (exported / "model.pt2").exists()
    other = exported.parent / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(ExportError, match="holiday holds something else than an export"):
        study.export(other, trial=number)
    with pytest.raises(ExportError, match="cannot write"):
        study.export(other / "photo.jpg" / "out", trial=number)
    assert [path.name for path in other.iterdir()] == ["photo.jpg"]
    assert (other / "photo.jpg").read_bytes() == b"precious"


def test_damaged_exports_are_refused(exported: Path, tmp_path: Path) -> None:
    for name, content in (("model.safetensors", b"short"), ("policy.json", b"{"), ("report.json", b"[")):
        copy = tmp_path / name
        shutil.copytree(exported, copy)
        (copy / name).write_bytes(content)
        with pytest.raises(ExportError, match=name.partition(".")[0] + "|damaged"):
            api.measure(copy, time_s=0.1)
    copy = tmp_path / "other policy"
    shutil.copytree(exported, copy)
    (copy / "policy.json").write_text(json.dumps(Policy().to_json()), encoding="utf-8")
    with pytest.raises(ExportError, match="do not fit its policy"):
        api.measure(copy, time_s=0.1)


def test_the_same_search_again_trains_nothing_and_proposes_the_same(workplace: Workplace, foreign: str) -> None:
    url = workplace.storage("twice")
    settings = {**workplace.quick, "latency_budget": "70%", "trials": 6, "profile": foreign, "storage": url}
    first = api.search(study="first", **settings)
    trained = evaluations(url, "short")
    again = api.search(study="again", **settings)
    assert [t.policy.digest for t in again.trials] == [t.policy.digest for t in first.trials]
    assert [t.outcome for t in again.trials] == [t.outcome for t in first.trials]
    assert [t.val_accuracy for t in again.trials] == [t.val_accuracy for t in first.trials]
    assert evaluations(url, "short") == trained == first.document()["trials"]["complete"]
    other = api.search(study="other", **{**settings, "seed": 1})
    assert [t.policy.digest for t in other.trials] != [t.policy.digest for t in first.trials]


def test_resuming_adds_trials(study: api.Study, document: dict[str, Any]) -> None:
    before = study.trials
    seconds = document["seconds"]
    resumed = api.resume("first", trials=2, storage=study.storage)
    found = resumed.document()
    assert found["trials"]["total"] == TRIALS + 2
    assert resumed.trials[:TRIALS] == before
    states = optuna_states(study.storage, "first")
    assert len(states) == TRIALS + 2
    assert not {"RUNNING", "WAITING"} & set(states)
    # Nothing that was done before was done again.
    assert found["seconds"]["train dense"] == seconds["train dense"]
    assert found["seconds"]["train shared weights"] == seconds["train shared weights"]
    assert {f.policy.digest for f in resumed.store.finalists("first")} >= {winner(document)["policy_digest"]}


def test_a_tampered_database_is_noticed(study: api.Study, document: dict[str, Any], workplace: Workplace) -> None:
    """Last of all: it breaks the weights of the winner."""
    number = str(winner(document)["trial"])
    path = workplace.root / "main" / "artifacts" / f"{study.finalist(number).artifact}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StorageError, match="were changed; restore the file"):
        study.export(workplace.root / "out2", trial=number)
    assert not (workplace.root / "out2").exists()


def wait_for_trials(url: str, study: str, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        try:
            done = rows(url, f"select count(*) from autogate_trials where study = '{study}'")[0][0]  # noqa: S608
        except sqlite3.OperationalError:
            done = 0
        if done >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the search is too slow")


def test_killed_interrupted_and_resumed(workplace: Workplace, foreign: str) -> None:
    """Kill a search without warning, interrupt its continuation, and finish: every trial counts once."""
    url, wanted = workplace.storage("killed"), 24
    options = [f"--{key.replace('_', '-')}={value}" for key, value in workplace.quick.items()]
    search = start(
        workplace,
        url,
        "search",
        "--latency-budget",
        "70%",
        "--study",
        "victim",
        "--trials",
        str(wanted),
        "--profile",
        foreign,
        *options,
    )
    wait_for_trials(url, "victim", 3, search)
    search.kill()
    search.communicate()
    assert search.returncode == -signal.SIGKILL
    store = Store(url)
    survived = store.trials("victim")
    assert 3 <= len(survived) < wanted

    resumed = start(workplace, url, "resume", "victim")
    wait_for_trials(url, "victim", len(survived) + 3, resumed)
    resumed.send_signal(signal.SIGINT)
    out, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 130, err
    assert out == ""
    assert f"continue with: autogate resume victim --storage '{url}'" in err.splitlines()[-1]
    assert "Traceback" not in err
    # Nobody watches, so that there is a plain line for each stage and trial.
    assert re.search(r"^load: done after [\d.]+ s$", err, re.MULTILINE)
    assert len(re.findall(rf"^trial \d+ \(\d+ of {wanted}\): \w+", err, re.MULTILINE)) >= 3
    assert "\x1b" not in err
    assert store.trials("victim")[: len(survived)] == survived

    found = api.resume("victim", storage=url).document()
    assert found["trials"]["total"] == wanted
    assert found["trials"]["failed"] == 0
    trials = store.trials("victim")
    assert trials[: len(survived)] == survived
    assert len(trials) == wanted
    # Nothing was trained twice, and nothing that was trained was lost.
    assert evaluations(url, "short") == found["trials"]["complete"]
    digests = [t.policy.digest for t in trials if t.outcome == "complete"]
    assert len(digests) == len(set(digests))
    states = optuna_states(url, "victim")
    assert not {"RUNNING", "WAITING"} & set(states)
    assert states.count("COMPLETE") == found["trials"]["complete"] + found["trials"]["reused"]
