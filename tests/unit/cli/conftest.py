from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autogate.nas.profiles import profiles
from tests.support.commands import Cli, Refused, runner

NET = """
from torch import nn

class Unit(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return (x + self.conv2(self.conv1(x).relu())).relu()

def build(num_classes=10):
    units = [Unit(16) for _ in range(3)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), *units, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, num_classes),
    )
"""


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Return a function that runs ``autogate ARGUMENTS`` in an empty directory."""
    where = tmp_path / "cwd"
    where.mkdir()
    monkeypatch.chdir(where)
    monkeypatch.setattr(profiles, "QUICK_PROFILE_S", 2.0)
    return runner(monkeypatch, capsys)


@pytest.fixture
def tiny(cli: Cli) -> Iterator[str]:
    """Return the name of a network in the current directory."""
    Path("tinynet.py").write_text(NET, encoding="utf-8")
    yield "tinynet:build"
    sys.modules.pop("tinynet", None)


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
        lines = result.err.splitlines()
        assert len(lines) == 1, result.err
        assert lines[0].startswith("autogate: ")
        assert "Traceback" not in result.err
        assert tree(tmp_path) == before, "something was written"
        return lines[0]

    return run
