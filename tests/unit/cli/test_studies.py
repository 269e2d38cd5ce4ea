"""``autogate studies`` and ``autogate pareto --history`` on the database of a real search."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autogate.store import Store
from tests.support.commands import Cli
from tests.support.databases import released

NAME = "it's 🙂 [/bold] :smile:"


@pytest.fixture
def url(upgraded: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a database with two studies; it is the default one."""
    monkeypatch.setenv("AUTOGATE_STORAGE", upgraded)
    return upgraded


def test_upgrading(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = released(1, tmp_path / "studies")
    monkeypatch.setenv("AUTOGATE_STORAGE", url)
    assert cli("studies").code == 2
    assert cli("studies", "upgrade", "--format", "json").json == {
        "schema": "autogate.upgrade/1",
        "storage": url,
        "from": 1,
        "to": 4,
    }
    assert cli("studies").code == 0


def test_commands_on_an_older_database_name_the_one_that_helps(cli: Cli, tmp_path: Path) -> None:
    url = released(1, tmp_path / "studies")
    for command in (
        ("studies",),
        ("show", "budget"),
        ("pareto", "budget"),
        ("resume", "budget"),
        ("studies", "vacuum"),
    ):
        refused = cli(*command, "--storage", url)
        assert refused.code == 2
        assert len(refused.err.splitlines()) == 1
        assert f"run `autogate studies upgrade --storage '{url}'`" in refused.err
    assert "was brought from schema 1 to 4" in " ".join(cli("studies", "upgrade", "--storage", url).out.split())
    assert "is up to date (schema 4)" in " ".join(cli("studies", "upgrade", "--storage", url).out.split())


def test_listing_and_showing(cli: Cli, url: str) -> None:
    listed = cli("studies", "list", "--format", "json").json
    assert [line["study"] for line in listed] == ["budget", "largest drop"]
    assert listed == cli("studies", "--format", "json").json
    assert "largest drop" in cli("studies", "list").out
    shown = cli("studies", "show", "budget", "--format", "json").json
    assert shown["schema"] == "autogate.study-overview/1"
    assert (shown["front"], shown["outcomes"]["complete"], shown["config"]["latency_budget"]) == (3, 6, "80%")
    assert shown["weights_bytes"] > 200_000
    assert "config: latency_budget" in cli("studies", "show", "budget").out
    absent = cli("studies", "show", "bugdet")
    assert (absent.code, "did you mean budget" in absent.err) == (2, True)


def test_the_history(cli: Cli, url: str) -> None:
    document = cli("pareto", "budget", "--history", "--format", "json").json
    assert [point["trial"] for point in document["points"]] == list(range(8))
    areas = [point["hypervolume"] for point in document["points"]]
    assert areas == sorted(areas)
    assert 0 < areas[-1] < 1
    drawn = cli("pareto", "budget", "--plot", "history.html")
    assert drawn.code == 0, drawn.err
    assert "█" in drawn.out
    assert "57.50%" in drawn.out
    page = Path("history.html").read_text(encoding="utf-8")
    assert "hypervolume" in page
    assert json.dumps(areas[-1]) in page
    assert cli("pareto", "budget", "--plot", "absent/history.html").code == 2
    mixed = cli("pareto", "budget", "--history", "--latency-budget", "5ms")
    assert (mixed.code, "leave budgets and --profile out" in mixed.err) == (2, True)


def test_copying_with_odd_names(cli: Cli, url: str, postgres: str) -> None:
    copied = cli("studies", "copy", "budget", "--to", postgres, "--name", NAME)
    assert copied.code == 0, copied.err
    assert cli("show", NAME, "--storage", postgres, "--format", "json").json["best"]["trial"] == 5
    again = cli("studies", "copy", "budget", "--to", postgres, "--name", NAME)
    assert (again.code, "choose another name" in again.err) == (2, True)
    exported = cli("studies", "export", NAME, "--to", "study.jsonl", "--storage", postgres, "--format", "json").json
    assert exported["rows"] > 50
    assert cli("studies", "import", "study.jsonl").code == 0
    # By the time at which the search began, wherever that was.
    assert [line["study"] for line in cli("studies", "-f", "json").json] == ["budget", NAME, "largest drop"]
    for command in (("list",), ("show", NAME), ("watch", NAME)):
        printed = cli("studies", *command).out
        assert "[/bold]" in printed
        assert ":smile:" in printed
    for command in (("show", NAME), ("pareto", NAME), ("pareto", NAME, "--history")):
        shown = cli(*command, "--storage", postgres)
        assert (shown.code, shown.err) == (0, "")
    assert cli("studies", "import", "study.jsonl").code == 2
    Path("notes.jsonl").write_text("notes", encoding="utf-8")
    notes = cli("studies", "import", "notes.jsonl")
    assert (notes.code, "is not an exported study" in notes.err) == (2, True)


def test_copying_a_study_onto_itself(cli: Cli, url: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "upgraded")
    for same in (url, f"sqlite:///{tmp_path / 'link' / 'studies.db'}"):
        refused = cli("studies", "copy", "budget", "--to", same)
        assert refused.code == 2
        assert refused.err == (
            "autogate: study 'budget' cannot be copied onto itself; give the copy another name with --name\n"
        )
    assert cli("studies", "copy", "budget", "--to", url, "--name", "twice").code == 0


@pytest.mark.parametrize("name", ["", "  ", "a" * 201, "line\nbreak", "nul\0", "\udcff"])
def test_names_that_no_database_could_keep(cli: Cli, url: str, name: str) -> None:
    for command in (
        ("studies", "copy", "budget", "--to", url, "--name"),
        ("search", "--latency-budget", "5ms", "--study"),
    ):
        refused = cli(*command, name)
        assert refused.code == 2
        assert "choose another --study" in refused.err
        assert len(refused.err.splitlines()) == 1


def test_deleting_asks_first(cli: Cli, url: str) -> None:
    refused = cli("studies", "delete", "budget")
    assert (refused.code, "cannot be undone; add --yes" in refused.err) == (2, True)
    assert cli("studies", "delete", "absent", "--yes").code == 2
    assert cli("studies", "delete", "budget", "--yes", "--format", "json").json["study"] == "budget"
    assert [line["study"] for line in cli("studies", "-f", "json").json] == ["largest drop"]
    assert cli("studies", "vacuum", "--format", "json").json["weights"] == 1
    assert "removed 0 evaluations" in cli("studies", "vacuum").out


def test_watching_without_a_terminal_looks_once(cli: Cli, url: str) -> None:
    seen = cli("studies", "watch", "budget")
    assert seen.code == 0, seen.err
    assert "8 of 8 trials: 6 trained, 2 rejected" in seen.out
    assert "best within the goal: trial 5" in seen.out
    document = cli("studies", "watch", "budget", "--format", "json").json
    assert document["finished"] is True
    assert [trial["trial"] for trial in document["latest"]] == list(range(7, -1, -1))
    assert cli("studies", "watch", "budget", "--every", "2").code == 2
    Store(url).update_facts(
        "budget", lambda facts: replace(facts, ended=False)
    )  # as when it is interrupted while finalists are trained
    assert cli("studies", "watch", "budget", "--format", "json").json["finished"] is False
    assert "no process runs it now" in cli("studies", "watch", "budget").out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--trials", "0"), "--trials must be above zero, not 0"),
        (("--workers", "5000"), "--workers must be between 0 and 1024, not 5000"),
        (("--seed", "-1"), "--seed must be between 0 and 9223372036854775807, not -1"),
    ],
)
def test_replays_with_wrong_settings(cli: Cli, url: str, options: tuple[str, str], complaint: str) -> None:
    refused = cli("replay", "budget", "--name", "again", *options)
    assert (refused.code, refused.err) == (2, f"autogate: {complaint}\n")
    assert [line["study"] for line in cli("studies", "-f", "json").json] == ["budget", "largest drop"]
