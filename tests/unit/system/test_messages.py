"""Texts that error messages share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from autogate.system import is_text, one_line, printable, read_yaml, suggest, why_unreadable


def raised(run: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it is read
        run()
    return caught.value


def test_an_error_is_its_first_line_of_limited_length() -> None:
    error = ValueError("first\tone\n  While executing %second : [num_users=1]")
    assert one_line(error) == "first one"
    assert one_line(error, 6) == "first…"
    assert one_line(error, with_type=True) == "ValueError: first one"
    assert one_line("a text\n as a whole") == "a text as a whole"
    assert one_line(KeyError()) == one_line(KeyError(), with_type=True) == "KeyError"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("Error(s) in loading state_dict for Net:\n\tsize mismatch for head.weight"), "size mismatch for"),
        (RuntimeError("one of:\n * (Tensor input)"), "one of"),
        (ValueError("ends in a stop.\n"), "ends in a stop"),
        (ModuleNotFoundError("No module named 'nets'", name="nets"), "there is no module 'nets'"),
        (KeyError("images"), "there is no 'images'"),
        (OSError(2, "No such file or directory", "a.npz"), "No such file or directory: a.npz"),
    ],
)
def test_what_an_error_says(error: Exception, line: str) -> None:
    assert one_line(error).startswith(line)
    assert "\n" not in one_line(error)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (lambda: Path("absent").read_text(encoding="utf-8"), "No such file or directory"),
        (lambda: Path("/").read_text(encoding="utf-8"), "Is a directory"),
        (lambda: b"\xff\xfe".decode("utf-8"), "it is no text in UTF-8"),
        (lambda: json.loads('{"a": 1,\n}'), "line 2 is not JSON"),
        (lambda: read_yaml("a: [1,\nb"), "line 2: expected ',' or ']', but got 'end of file'"),
        (lambda: read_yaml("a: b: c"), "line 1: mapping values are not allowed here"),
        (lambda: read_yaml("a: 1\n\tb: 2"), "line 2: it holds a tab; indent with spaces"),
        (lambda: read_yaml("a: {b: 1,\n b: 2}"), "line 2: b is there twice"),
        (lambda: int("x"), "invalid literal for int() with base 10: 'x'"),
    ],
)
def test_why_a_file_cannot_be_read(run: Callable[[], object], why: str) -> None:
    assert why_unreadable(raised(run)) == why


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert printable("a\nb\x1b[31m\udcff é ’") == "a\\nb\\x1b[31m\\xff é ’"


def test_close_names_are_suggested_best_first() -> None:
    known = ["resnet18", "resnet20", "vgg16"]
    assert suggest("resnet21", known) == "did you mean resnet20, resnet18?"
    assert suggest("VGG-16", known) == "did you mean vgg16?"
    assert suggest("vgg", ["VGG16"], prefix="timm:") == "did you mean timm:VGG16?"
    assert suggest("yolo", known) == ""


def test_paths_are_shown_on_one_line_whatever_bytes_they_hold() -> None:
    assert printable("a/été 1.png") == "a/été 1.png"
    assert printable(os.fsdecode(b"caf\xe9/\xff\n\0.png")) == "caf\\xe9/\\xff\\n\\x00.png"
    assert printable("\ud800\u200f") == "\\ud800\\u200f"


def test_what_databases_can_store() -> None:
    assert is_text("été\n")
    assert not any(map(is_text, ("\udce9", "\ud800", "a\0")))


class Shape(BaseModel, extra="forbid"):
    kind: Literal["block", "map"]
    genes: dict[str, list[float]] = Field(default_factory=dict)

    @field_validator("genes")
    @classmethod
    def _check(cls, genes: dict[str, list[float]]) -> dict[str, list[float]]:
        if "" in genes:
            raise ValueError("a gene has no name")
        return genes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "kind is missing"),
        ({"kind": "bloc"}, "kind must be 'block' or 'map'"),
        ({"kind": "map", "colour": 1}, "colour is no known key"),
        ({"kind": "map", "genes": 5}, "genes must hold keys with values"),
        ({"kind": "map", "genes": {"a": 5}}, "genes.a must be a list, in brackets or with a dash before each item"),
        ({"kind": "map", "genes": {"a": [1, "x"]}}, "genes.a[1] must be a number"),
        ({"kind": "map", "genes": {"": []}}, "genes: a gene has no name"),
    ],
)
def test_data_of_another_form_than_they_must_have(data: dict[str, object], said: str) -> None:
    assert one_line(raised(lambda: Shape.model_validate(data))) == said
