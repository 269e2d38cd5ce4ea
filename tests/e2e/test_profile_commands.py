"""``autogate profile`` and what it answers, on a small network and this device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autogate.latency.model import LatencyModel
from autogate.latency.profile import read_profile, to_lines
from autogate.models import load_model
from autogate.sites import find_sites
from tests.support.commands import Cli, Result

PLACE = ("--layout", "contiguous", "--threads", "1", "--runtime", "eager")


def profile(cli: Cli, model: str, *more: str) -> Result:
    asked = ("profile", "--allow-noisy", "--model", model, "--space", "drop", *PLACE, *more)
    taken = cli(*asked, "--time", "3s")
    # Enough for this network, unless other work takes the cores.
    return cli(*asked, "--time", "20s") if "raise --time" in taken.err else taken


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
    assert "autogate: no policy meets 0.001 ms: the fastest reachable is predicted" in impossible.err.splitlines()[-1]
    # Nothing was trained, and the name is still free.
    assert not list(Path("studies").glob("artifacts/*"))
    assert "never" not in cli("studies", "--format", "json").out


def test_a_profile_is_validated_on_networks_it_has_not_seen(cli: Cli, tiny: str) -> None:
    made = cli(
        "profile",
        "--allow-noisy",
        "--model",
        tiny,
        "--space",
        "magnitude",
        "--time",
        "5s",
        *PLACE,
        "--out",
        "mine.jsonl",
    )
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
    network = find_sites(load_model(tiny).module, (3, 32, 32))
    assert LatencyModel(taken, network).dense_ms > 0
    Path("file").write_text("", encoding="utf-8")
    blocked = profile(cli, tiny, "--out", "file/mine.jsonl")
    assert blocked.code == 2
    assert "cannot write file/mine.jsonl" in blocked.err
