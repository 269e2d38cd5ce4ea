from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autogate import cli
from autogate.cli.command_list import COMMANDS, load_command


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_each_command_what_its_help_begins_with(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert " ".join((command.help or "").split("\n\n")[0].split()) == COMMANDS[name]


def test_every_command_is_in_the_list() -> None:
    files = Path(next(iter(cli.__path__))).glob("*.py")
    defining = {file.stem for file in files if "def command(" in (text := file.read_text()) or "\napp = " in text}
    assert defining - {"main"} == set(COMMANDS)


def test_the_list_is_shown_before_anything_large_is_loaded() -> None:
    code = (
        "import sys; sys.argv = ['autogate', '--help']\n"
        "from autogate.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'pydantic', 'sqlalchemy', 'numpy', 'torch', 'autogate.api'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("Usage: autogate [OPTIONS] COMMAND [ARGS]...")
    assert done.stdout.endswith("[]\n")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
