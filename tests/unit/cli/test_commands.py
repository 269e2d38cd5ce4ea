"""What the quick commands print, and their exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autogate.gates import FAMILIES
from autogate.goals import make_config
from autogate.latency.model import LatencyModel
from autogate.latency.profile import read_profile, to_lines
from autogate.nas.profiles import find_profile, keep_profile
from autogate.policy import Gate, Policy
from autogate.records import TrialRecord
from autogate.space import load_space
from autogate.store import Store
from tests.support.commands import Cli, Result

PLACE = ("--layout", "contiguous", "--threads", "1")


def profile(cli: Cli, model: str, *more: str) -> Result:
    return cli("profile", "--allow-noisy", "--model", model, "--space", "drop", *PLACE, *more)


def test_help(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    for command in (
        "search",
        "resume",
        "profile",
        "predict",
        "explain",
        "sensitivity",
        "pareto",
        "show",
        "measure",
        "export",
        "studies",
        "sites",
        "spaces",
        "doctor",
    ):
        assert command in result.out
        assert cli(command, "--help").code == 0
    alone = cli()
    assert "Usage" in alone.out + alone.err
    assert "Traceback" not in alone.err


def test_sites(cli: Cli) -> None:
    result = cli("sites")
    assert result.code == 0
    assert "16 sites of resnet20" in result.out
    assert "block:layer1.1" in result.out
    rows = json.loads(cli("sites", "--format", "json").out)
    assert len([row for row in rows if not row["reason"]]) == 16
    assert "no site: cutting its channels out" in result.out.replace("\n", " ")
    assert rows[0]["families"] == ["drop", "mod", "lcnet"]


def test_spaces(cli: Cli) -> None:
    assert "unified" in cli("spaces").out
    assert set(cli("spaces", "--format", "json").json) == {"unified", "mod_alternate", *FAMILIES}


def test_doctor(cli: Cli) -> None:
    found = cli("doctor", "--format", "json").json
    assert found["packages"]["torch"]
    assert "no study database" in found["studies"]
    assert cli("doctor").code == 0
    assert list(Path().iterdir()) == []


def test_an_unfinished_study(cli: Cli) -> None:
    store = Store("sqlite:///studies/autogate.db", create=True)
    store.create_study("first", make_config(space=load_space("drop").to_json(), latency_budget="60%").to_json())
    store.set_facts("first", {"dense_predicted_ms": 10.0})
    predicted = {"mean": 5.0, "p50": 5.0, "p95": 5.0, "max": 5.0, "upper": 5.5}
    policy = Policy({"block:layer1.1": Gate("drop")})
    store.add_trial("first", TrialRecord(0, "complete", policy, 0.875, predicted, {"macs_paper": 1.0}, None, 1.0))
    store.add_trial("first", TrialRecord(1, "failed", policy, None, predicted, None, "nan", 1.0))
    shown = cli("show", "first")
    assert shown.code == 0
    assert "87.50%" in shown.out
    assert "1 trained, 0 rejected before training, 0 reused, 0 stopped early, 1 failed" in shown.out
    document = cli("show", "first", "--format", "json").json
    assert document["schema"] == "autogate.search/1"
    assert document["best"] is None
    assert document["trials"] == {"total": 1, "complete": 1, "rejected": 0, "reused": 0, "stopped": 0, "failed": 1}
    assert [point["trial"] for point in document["front"]] == [0]
    lines = json.loads(cli("studies", "--format", "json").out)
    assert lines == [
        {
            "study": "first",
            "model": "resnet20",
            "data": "digits",
            "goal": "60%",
            "batch_size": 1,
            "trials": 1,
            "trained": 1,
            "wanted": 40,
            "finalists": 0,
        }
    ]
    assert cli("pareto", "first", "--latency-budget", "6ms", "--format", "json").json["best_predicted"]["trial"] == 0
    assert cli("pareto", "first", "--latency-budget", "5.2ms", "--format", "json").json["best_predicted"] is None


def test_other_storage_by_variable(cli: Cli, monkeypatch: pytest.MonkeyPatch, storage: str) -> None:
    Store(storage, create=True)
    assert cli("studies").code == 2
    monkeypatch.setenv("AUTOGATE_STORAGE", storage)
    assert cli("studies", "--format", "json").out.strip() == "[]"


def test_a_profile_and_what_it_tells_before_any_training(cli: Cli, tiny: str) -> None:
    profiled = profile(cli, tiny, "--format", "json")
    assert profiled.code == 0, profiled.err
    assert profiled.json["schema"] == "autogate.profile-summary/1"
    assert profiled.json["dense_ms"] > 0
    assert profiled.json["setting"]["threads"] == 1
    assert len(profiled.json["digest"]) == 16

    options = ("--model", tiny, "--space", "drop", *PLACE, "--format", "json")
    dry = cli("search", "--latency-budget", "80%", "--dry-run", *options)
    assert dry.code == 0, dry.err
    facts = dry.json
    assert facts["combinations"] == 2 * 2**3
    assert facts["decisions"] == 4
    assert 0 < facts["lightest_ms"] < facts["dense_ms"]
    assert facts["budget_ms"] == pytest.approx(0.8 * facts["dense_ms"])
    assert facts["reachable"] is True

    impossible = cli("search", "--latency-budget", "1us", "--study", "never", *options)
    assert impossible.code == 3
    assert impossible.json["best"] is None
    assert impossible.json["fastest_ms"] > impossible.json["budget_ms"] == pytest.approx(0.001)
    assert len(impossible.err.splitlines()) == 1
    assert "no policy meets 0.001 ms: the fastest reachable is predicted at" in impossible.err
    # Nothing was trained, and the name is still free.
    assert not list(Path("studies").glob("artifacts/*"))
    assert "never" not in cli("studies", "--format", "json").out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_profiles_of_the_database_are_called_by_their_digest(cli: Cli) -> None:
    cpu, gpu = (
        keep_profile(Store("sqlite:///kept.db", create=True), read_profile(find_profile(name)))
        for name in (
            "intel-xeon-2-cores-resnet20-b1-float32-1-thread-eager-torch2.15",
            "nvidia-h100-80gb-hbm3-resnet18-b1-float32-cuda_graph-torch2.11",
        )
    )
    explained = cli("explain", cpu, "--space", "drop", "--storage", "sqlite:///kept.db", "--format", "json")
    assert explained.code == 0, explained.err
    assert (explained.json["model"], explained.json["batch_size"]) == ("resnet20", 1)
    # Another machine's, so that it is found and not measured.
    validate = ("profile", "validate", gpu)
    found = cli(*validate, "--storage", "sqlite:///kept.db")
    assert (found.code, f"{gpu} was profiled on 'NVIDIA H100 80GB HBM3'" in found.err) == (2, True)
    absent = cli(*validate)
    assert (absent.code, f"cannot read profile {gpu}: it is no file" in absent.err) == (2, True)


def test_a_profile_is_validated_on_networks_it_has_not_seen(cli: Cli, tiny: str) -> None:
    made = cli("profile", "--allow-noisy", "--model", tiny, "--space", "magnitude", *PLACE, "--out", "mine.jsonl")
    assert made.code == 0, made.err
    asked = (
        "profile",
        "validate",
        "mine.jsonl",
        "--space",
        "magnitude",
        "--networks",
        "3",
        "--time",
        "1s",
        "--seed",
        "7",
    )
    result = cli(*asked, "--plot", "points.html", "--format", "json")
    assert result.code == 0, result.err
    document = result.json
    assert document["schema"] == "autogate.validate/1"
    assert (document["networks"], document["seed"]) == (3, 7)
    scores = {"mape", "p95_ape", "bias", "within_5", "within_10", "spearman", "kendall", "skill"}
    assert scores | {"coverage", "violations"} <= set(document["model"])
    names = {"constant", "macs_affine", "macs_interpolation", "lookup_table", "roofline"}
    assert {name: set(found) for name, found in document["baselines"].items()} == dict.fromkeys(names, scores)
    assert 0 <= document["floor"] == document["retest"]["mape"]
    assert 0 <= document["floor_corrected"] == document["retest_corrected"]["mape"]
    assert all(point["measured_ms"] > 0 for point in document["points"])
    assert "measured again" in Path("points.html").read_text(encoding="utf-8")
    table = cli(*asked)
    assert "drift taken out" in table.out
    assert "macs_interpolation" in table.out

    document = cli("explain", "mine.jsonl", "--space", "magnitude", "--format", "json").json
    assert document["schema"] == "autogate.explain/1"
    assert sum(unit["share"] for unit in document["units"]) == pytest.approx(1.0)
    assert {unit["regime"] for unit in document["units"]} <= {"compute-bound", "bandwidth-bound", "launch-bound"}
    assert all((gate["saved_ms"] > 0) == (gate["reason"] is None) for gate in document["gates"])
    shown = cli("explain", "mine.jsonl", "--space", "magnitude")
    assert "bound by" in shown.out
    assert "3 maps" in shown.out
    absent = cli("explain", "absent.jsonl")
    assert (absent.code, "Traceback" in absent.err) == (2, False)

    few = cli("profile", "validate", "mine.jsonl", "--networks", "2")
    assert (few.code, "2 networks are too few" in few.err) == (2, True)
    taken = read_profile(Path("mine.jsonl"))
    elsewhere = replace(taken, setting=replace(taken.setting, device_name="a device elsewhere"))
    Path("elsewhere.jsonl").write_text(to_lines(elsewhere), encoding="utf-8")
    foreign = cli("profile", "validate", "elsewhere.jsonl", "--space", "magnitude")
    assert foreign.code == 2
    assert "elsewhere.jsonl was profiled in another setting: device_name is" in foreign.err

    versions = {**taken.setting.versions, "torch": "1.0"}
    old = replace(taken, setting=replace(taken.setting, versions=versions))
    Path("old.jsonl").write_text(to_lines(old), encoding="utf-8")
    asked = ("profile", "validate", "old.jsonl", "--space", "magnitude", "--networks", "3", "--time", "1s")
    refused = cli(*asked)
    assert (refused.code, "not '1.0'; use it all the same with --allow-stale" in refused.err) == (2, True)
    assert cli(*asked, "--allow-stale").code == 0


def test_a_profile_is_carried_over_to_another_setting(cli: Cli, tiny: str) -> None:
    assert profile(cli, tiny, "--out", "there.jsonl").code == 0
    carried = profile(
        cli, tiny, "--transfer-from", "there.jsonl", "--networks", "6", "--out", "here.jsonl", "--format", "json"
    )
    assert carried.code == 0, carried.err
    assert carried.json["transferred"]
    assert carried.json["networks"] == 6
    assert read_profile(Path("here.jsonl")).method["networks_measured"] == 6
    few = profile(cli, tiny, "--transfer-from", "there.jsonl", "--networks", "3")
    assert (few.code, "3 networks are too few to transfer with" in few.err) == (2, True)
    absent = profile(cli, tiny, "--transfer-from", "absent.jsonl")
    assert (absent.code, "cannot read profile absent.jsonl" in absent.err) == (2, True)


def test_a_profile_as_a_file(cli: Cli, tiny: str) -> None:
    result = profile(cli, tiny, "--out", "deep/mine.jsonl")
    assert result.code == 0, result.err
    assert "deep/mine.jsonl" in result.out
    taken = read_profile(Path("deep/mine.jsonl"))
    assert taken.model == tiny
    assert not Path("studies").exists()
    from autogate.models import load_model
    from autogate.sites import find_sites

    network = find_sites(load_model(tiny).module, (3, 32, 32))
    assert LatencyModel(taken, network).dense_ms > 0
    Path("file").write_text("", encoding="utf-8")
    blocked = profile(cli, tiny, "--out", "file/mine.jsonl")
    assert blocked.code == 2
    assert "cannot write file/mine.jsonl" in blocked.err
