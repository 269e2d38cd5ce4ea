"""Every error has one root and one home."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import autogate
from autogate import errors
from autogate.errors import AutoGateError

ERRORS = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, BaseException)]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_has_the_root_a_meaning_and_an_exit_code(error: type[AutoGateError]) -> None:
    assert issubclass(error, AutoGateError)
    assert error.__doc__
    assert error.exit_code in (2, 3)


def test_no_other_file_defines_an_error_that_a_user_can_meet() -> None:
    home = Path(errors.__file__)
    elsewhere = [
        f"{path.name}: {node.name}"
        for path in Path(autogate.__file__).parent.rglob("*.py")
        if path != home
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any("Error" in ast.unparse(base) or "Exception" in ast.unparse(base) for base in node.bases)
    ]
    assert elsewhere == []
