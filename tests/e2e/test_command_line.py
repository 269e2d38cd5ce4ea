"""The commands on a finished study, as a user types them one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autogate import api
from tests.support.commands import Cli, runner
from tests.support.workplace import Workplace, winner


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: api.Study) -> Cli:
    """Return a function that runs ``autogate ARGUMENTS`` on the study's database."""
    monkeypatch.setenv("AUTOGATE_STORAGE", study.storage)
    return runner(monkeypatch, capsys)


def test_show(cli: Cli, document: dict[str, Any]) -> None:
    number = str(winner(document)["trial"])
    shown = cli("show", "first", number)
    assert shown.code == 0
    for word in ("paper MACs", "realisable MACs", "predicted p50", "measured p95", "drop", f"trial {number}"):
        assert word in shown.out
    assert cli("show", "first", number, "--format", "json").json["finalist"] == winner(document)
    best = cli("show", "first", "best", "--format", "json").json
    assert best["best"] == document["best"]
    assert "finalist" not in best
    assert "front of the trained candidates" in cli("show", "first").out


def test_pareto(cli: Cli) -> None:
    assert cli("pareto", "first", "--latency-budget", "1us").out.count("no ") >= 2
    loose = cli("pareto", "first", "--latency-budget", "95%")
    assert "best predicted within it: trial" in loose.out


def test_predict(cli: Cli, document: dict[str, Any]) -> None:
    number = winner(document)["trial"]
    result = cli("predict", "first", number)
    assert result.code == 0, result.err
    assert result.out.startswith("predicted on ")


def test_export_and_measure(cli: Cli, document: dict[str, Any], workplace: Workplace) -> None:
    out = Path("typed")
    written = cli("export", "first", "--to", out, "--trial", winner(document)["trial"])
    assert written.code == 0, written.err
    assert "0 predictions changed" in written.out
    assert "formats, each beside dense in the same format" in written.out
    assert "ratio to dense" in written.out
    untimed = cli("export", "first", "--to", out, "--trial", winner(document)["trial"], "--time", "0", "--json").json
    assert all("measured" not in one for one in untimed["formats"].values())
    measured = cli("measure", out, "--time", "1s")
    assert measured.code == 0, measured.err
    assert "gated / dense = " in measured.out
    auto = cli("measure", out, "--time", "1s", "--layout", "auto", "--threads", "1", "--format", "json").json
    assert auto["setting"]["layout"] in ("contiguous", "channels_last")


def test_studies(cli: Cli) -> None:
    assert "first" in cli("studies").out
