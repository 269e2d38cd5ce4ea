"""Texts that error messages share."""

from __future__ import annotations

import os

from autogate.system import is_text, one_line, readable, suggest


def test_an_error_is_one_line_of_limited_length() -> None:
    error = ValueError("first\n  second\tthird")
    assert one_line(error) == "first second third"
    assert one_line(error, 8) == "first se"
    assert one_line(error, with_type=True) == "ValueError: first second third"
    assert one_line(KeyError()) == one_line(KeyError(), with_type=True) == "KeyError"


def test_close_names_are_suggested_best_first() -> None:
    known = ["resnet18", "resnet20", "vgg16"]
    assert suggest("resnet21", known) == "did you mean resnet20, resnet18?"
    assert suggest("VGG-16", known) == "did you mean vgg16?"
    assert suggest("vgg", ["VGG16"], prefix="timm:") == "did you mean timm:VGG16?"
    assert suggest("yolo", known) == ""


def test_paths_are_shown_on_one_line_whatever_bytes_they_hold() -> None:
    assert readable("a/été 1.png") == "a/été 1.png"
    assert readable(os.fsdecode(b"caf\xe9/\xff\n\0.png")) == "caf\\xe9/\\xff\\n\\x00.png"
    assert readable("\ud800\u200f") == "\\ud800\\u200f"


def test_what_databases_can_store() -> None:
    assert is_text("été\n")
    assert not any(map(is_text, ("\udce9", "\ud800", "a\0")))
