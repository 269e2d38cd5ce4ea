"""Studies and databases that are not there, or not ours: one clear line, and nothing is touched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from autogate.goals import make_config
from autogate.space import load_space
from autogate.store import Store
from autogate.store.tables import SCHEMA_VERSION
from tests.support.commands import SEARCH, Cli, Refused

STORED = "sqlite:///studies/autogate.db"


def stored_study(**settings: object) -> None:
    """Store a study called ``first``, as ``search --latency-budget 60%`` would."""
    options = {"space": load_space("unified").to_json(), "latency_budget": "60%", **settings}
    store = Store(STORED, create=True)
    store.create_study("first", make_config(**options))
    store.engine.dispose()


@pytest.mark.parametrize(
    "command",
    [
        ("show", "frist"),
        ("resume", "frist"),
        ("worker", "frist"),
        ("pareto", "frist"),
        ("predict", "frist"),
        ("export", "frist", "--to", "out"),
    ],
    ids=lambda command: command[0],
)
def test_unknown_studies(cli: Cli, refused: Refused, command: tuple[str, ...]) -> None:
    line = refused(*command)
    assert "there is no study database at sqlite:///studies/autogate.db; `autogate search` makes one" in line
    stored_study()
    result = cli(*command)
    assert result.code == 2
    assert "there is no study 'frist'" in result.err
    assert "did you mean first?" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_study_of_another_configuration(cli: Cli) -> None:
    stored_study()
    for options, difference in (
        (("--model", "resnet56"), "model is 'resnet20' there and 'resnet56' here"),
        (("--batch-size", "8"), "batch_size is 1 there and 8 here"),
        (("--seed", "5"), "seed is 0 there and 5 here"),
    ):
        result = cli("search", "--latency-budget", "60%", "--study", "first", *options)
        assert result.code == 2
        assert "study 'first' exists with another configuration" in result.err
        assert difference in result.err
        assert "autogate resume" in result.err
        assert len(result.err.splitlines()) == 1
    assert Store(STORED).study("first").config.model == "resnet20"


def test_a_study_without_results_yet(cli: Cli) -> None:
    stored_study()
    for command, complaint in (
        (("export", "first", "--to", "out"), "no finalist that meets the budget; finalists are the trials: none yet"),
        (("show", "first", "7"), "no finalist of trial 7"),
        (("predict", "first"), "first"),
        (("resume", "first", "--trials", "0"), "trials"),
        (("resume", "first", "--trainings", "-1"), "trainings"),
        (("resume", "first", "--timeout", "5"), "duration '5' has no unit"),
        (("pareto", "first", "--latency-budget", "40"), "latency budget '40' has no unit"),
    ):
        result = cli(*command)
        assert result.code == 2, command
        assert complaint in result.err, command
        assert len(result.err.splitlines()) == 1, command
    assert cli("show", "first").code == 0


READING = [
    ("studies",),
    ("studies", "show", "first"),
    ("studies", "delete", "first", "--yes"),
    ("studies", "copy", "first", "--to", "sqlite:///copy.db"),
    ("studies", "export", "first", "--to", "first.jsonl"),
    ("studies", "upgrade"),
    ("studies", "vacuum"),
    ("studies", "watch", "first"),
    ("show", "first"),
    ("pareto", "first"),
    ("resume", "first"),
    ("export", "first", "--to", "out"),
]


@pytest.mark.parametrize("command", [*READING, SEARCH], ids=lambda command: "-".join(command[:2]))
def test_databases_of_others(refused: Refused, command: tuple[str, ...]) -> None:
    connection = sqlite3.connect("foreign.db")
    connection.execute("create table recipes (name text)")
    connection.commit()
    connection.close()
    line = refused(*command, "--storage", "sqlite:///foreign.db")
    assert "foreign.db is a database of another program; give AutoGate another one with --storage" in line


@pytest.mark.parametrize("command", [*READING, SEARCH], ids=lambda command: "-".join(command[:2]))
def test_databases_of_a_newer_schema(cli: Cli, command: tuple[str, ...]) -> None:
    stored_study()
    connection = sqlite3.connect("studies/autogate.db")
    connection.execute("update autogate_schema_version set version_num = '99'")
    connection.commit()
    connection.close()
    result = cli(*command)
    assert result.code == 2
    assert f"has schema 99, newer than {SCHEMA_VERSION}, which this version reads; update autogate" in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("command", [*READING, SEARCH], ids=lambda command: "-".join(command[:2]))
def test_files_that_are_no_database(refused: Refused, command: tuple[str, ...]) -> None:
    Path("notes.db").write_text("no database at all " * 100, encoding="utf-8")
    assert "file is not a database" in refused(*command, "--storage", "sqlite:///notes.db")


def test_places_that_cannot_be_written(refused: Refused) -> None:
    # A directory below a regular file can be made by nobody, not even by root.
    Path("file").write_text("", encoding="utf-8")
    assert "cannot use the directory file" in refused(*SEARCH, "--storage", "sqlite:///file/studies.db")
    Path("studies").write_text("", encoding="utf-8")
    assert "use --storage" in refused(*SEARCH)
