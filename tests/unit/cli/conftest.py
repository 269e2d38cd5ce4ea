from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.commands import Cli, Refused


def tree(root: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Refused:
    """Return a function that runs a command, checks how it is refused, and returns the line."""

    def run(*arguments: object) -> str:
        before = tree(tmp_path)
        result = cli(*arguments)
        assert result.code == 2, result
        assert result.out == ""
        *stages, line = result.err.splitlines()
        assert all(re.fullmatch(r"[a-z ]+: done after [\d.]+ s", stage) for stage in stages), result.err
        assert line.startswith("autogate: ")
        assert "Traceback" not in result.err
        assert tree(tmp_path) == before, "something was written"
        return line

    return run
