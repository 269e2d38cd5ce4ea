"""Tables: their titles, their columns, and names that look like something else."""

from __future__ import annotations

import pytest

from autogate.cli.printing import console, print_facts, print_table

LONG = "measured on " + "a device with a long name, " * 8


def test_a_title_is_not_folded_to_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(LONG, ("a", "b"), [("1", "2")])
    print_facts(LONG, [("a", 1)])
    titles = [line.rstrip() for line in capsys.readouterr().out.splitlines() if "device" in line]
    assert titles == [LONG.rstrip()] * 2


def test_columns_have_names_except_those_of_facts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="a column has no name"):
        print_table("t", ("", "dense"), [("a", "1")])
    print_facts("t", [("cpu", "a"), ("gpus", None)])
    title, top, first, second, bottom = capsys.readouterr().out.splitlines()
    assert (title, top[0], bottom[0]) == ("t", "┌", "└")
    assert (first.split(), second.split()) == (["│", "cpu", "│", "a", "│"], ["│", "gpus", "│", "│"])


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts("[bold]:smile:", [(":a:b:", "[/red]")])
    console().print(":smile: [/bold]")
    printed = capsys.readouterr().out
    for name in ("[bold]:smile:", ":a:b:", "[/red]", ":smile: [/bold]"):
        assert name in printed
