"""``autogate sensitivity`` on a small network that it trains first."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.commands import Cli


@pytest.fixture
def curves(cli: Cli, tiny: str) -> dict[str, object]:
    result = cli(
        "sensitivity",
        "--family",
        "antidote",
        "--model",
        tiny,
        "--input-size",
        "16",
        "--values",
        "0.1,0.9",
        "--images",
        "100",
        "--plot",
        "curves.html",
        "--format",
        "json",
    )
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_curves_fall_from_the_dense_accuracy(curves: dict[str, object]) -> None:
    assert curves["schema"] == "autogate.sensitivity/1"
    assert curves["images"] == 100
    assert curves["dense_accuracy"] > 0.7
    found = {(curve["site"], curve["ratio"]): curve["accuracies"] for curve in curves["curves"]}
    assert {ratio for _, ratio in found} == {"channel_ratio", "column_ratio"}
    mild = [accuracies[0] for accuracies in found.values()]
    hard = [accuracies[1] for accuracies in found.values()]
    assert max(abs(accuracy - curves["dense_accuracy"]) for accuracy in mild) < 0.3
    assert sum(hard) < sum(mild) - 0.1 * len(hard)
    page = Path("curves.html").read_text(encoding="utf-8")
    assert all(site in page for site, _ in found)
    assert "<script" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)  # it needs no network


def test_tables_and_wrong_input(cli: Cli, tiny: str) -> None:
    common = ("sensitivity", "--model", tiny, "--input-size", "16")
    result = cli(*common, "--family", "drop", "--images", "100")
    assert result.code == 0
    assert "block:2" in result.out
    for options, complaint in (
        (("--family", "mod"), "weights of their own"),
        (("--family", "dorp"), "unknown gate family 'dorp'; did you mean drop?"),
        (("--family", "dce"), "gates of dce find their channels in training; sensitivity curves of magnitude show"),
        (
            ("--family", "magnitude", "--plot", "nowhere/curves.html"),
            "plot: directory nowhere does not exist",
        ),
        (("--family", "magnitude", "--plot", "."), "cannot write the plot: . is a directory; name a file"),
        (("--family", "drop", "--images", "0"), "images must be at least 1"),
        (("--family", "magnitude", "--values", "1.5"), "ratio must be in [0, 0.97], not 1.5"),
        (("--family", "magnitude", "--values", "half"), "--values 'half' must be numbers"),
    ):
        result = cli(*common, *options)
        assert result.code == 2
        assert complaint in result.err
        assert "Traceback" not in result.err


def test_stages_are_judged_together(cli: Cli, tiny: str) -> None:
    common = ("sensitivity", "--model", tiny, "--input-size", "16", "--family", "magnitude", "--values", "0.5")
    curves = cli(*common, "--tie", "stage", "--images", "50", "--format", "json").json["curves"]
    places = [curve["site"] for curve in curves]
    assert all(place.startswith(("map:stage", "group:stage")) for place in places)
    assert len(set(places)) == len(places)
