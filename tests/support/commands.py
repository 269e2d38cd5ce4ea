"""Run ``autogate`` commands in this process."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import typer

from autogate.cli.main import app, main


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


Cli = Callable[..., Result]
Refused = Callable[..., str]
"""Runs a command that is to be refused, and returns the line."""
SEARCH = ("search", "--latency-budget", "60%", "--study", "new")
_LONGEST_S = 40
TINY = """
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
"""Source of a network on which commands take little time."""


def _too_long(*_: object) -> None:
    raise AssertionError(f"the command still runs after {_LONGEST_S} s")


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs ``autogate ARGUMENTS``."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["autogate", *map(str, arguments)])
        capsys.readouterr()
        # A wrong input that is taken for a right one would start a search of minutes.
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(_LONGEST_S)
        try:
            with pytest.raises(SystemExit) as stopped:
                main()
        finally:
            signal.alarm(0)
        printed = capsys.readouterr()
        code = stopped.value.code
        return Result(0 if code is None else int(code), printed.out, printed.err)

    return run


# Words of the libraries below, and of Python itself, that mean nothing to somebody who searches gates.
FOREIGN = re.compile(
    r"pydantic|Value error|Input should|validation error|not permitted|Field required|sqlalchemy|sqlite3\.|alembic|"
    r"\bfx\b|Proxy|num_users|While executing|traceback|immutable_|NoneType|has no attribute|indices must|index out|"
    r"required positional|keyword argument|codec|Expecting|invalid literal|with base 10|\[Errno|0x[0-9a-f]{6}|"
    r"No module named|\w+Error\b",
    re.IGNORECASE,
)


def commands() -> dict[str, Any]:
    """Return the commands that do something by their names, such as ``studies show``, as their parser knows them."""
    found: dict[str, Any] = {}

    def visit(command: Any, path: tuple[str, ...]) -> None:
        inner = getattr(command, "commands", {})
        if path and (not inner or command.invoke_without_command):
            found[" ".join(path)] = command
        for name, one in inner.items():
            visit(one, (*path, name))

    visit(typer.main.get_command(app), ())
    return found
