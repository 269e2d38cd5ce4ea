from __future__ import annotations

from pathlib import Path

import pytest
from commands import Cli, runner


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Return a function that runs ``autogate ARGUMENTS`` in an empty directory."""
    where = tmp_path / "cwd"
    where.mkdir()
    monkeypatch.chdir(where)
    return runner(monkeypatch, capsys)
