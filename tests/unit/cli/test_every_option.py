"""Every option of every command with wrong values: one line, exit code 2, nothing written, no other library's words."""

from __future__ import annotations

import json
import random
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import FOREIGN, Refused, commands

# A network that is not there: a command that takes a wrong value for a right one stops there and trains nothing.
ABSENT = ("--model", "nowhere:build")
BEFORE = {"search": ("--latency-budget", "60%", *ABSENT), "profile": ABSENT, "sites": ABSENT, "sensitivity": ABSENT}
# Some value for what is required.
REQUIRED = {"--family": "drop", "--to": "away", "--name": "again"}
FILES = {
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "prose.txt": b"notes on notes\n" * 300,
    "cut.json": b'{"schema": ["autogate',
    "list.json": b"[1, 2]\n",
    "cut.yaml": b"model: [resnet20\n",
    "odd.yaml": b"5: {5: 5}\n",
    "header.safetensors": b"\xff" * 64,
    "zip.pt": b"PK\x03\x04" + b"\0" * 64,
}
ODD = ["", " ", "-1", "0", "1.5", "1e400", "nan", "nan%", "-5ms", "9" * 23, "many", "٣", "[/bold]"]
PLACES = [
    "/",
    "../..",
    "/dev/null",
    "~nobody/x",
    "a" * 300,
    "nowhere:",
    "a:b:",
    "http://x",
    "x\ny",
    "\x1b[31m",
    "\udcff",
]
VALUES = [*ODD, *PLACES, *FILES]
COMMANDS = commands()
# Says in its table what is wrong with a database.
NOT_REFUSED = {("doctor", "--storage")}


@pytest.fixture
def wrong_files(tmp_path: Path) -> Iterator[None]:
    for name, content in FILES.items():
        (Path.cwd() / name).write_bytes(content)
    yield
    sys.modules.pop("nowhere", None)


def words(name: str, param: Any, value: str) -> list[str]:
    """Return a command line that is right, but for one value."""
    command, positional, options = COMMANDS[name], [], dict(zip(*[iter(BEFORE.get(name, ()))] * 2, strict=True))
    for one in command.params:
        if one.param_type_name == "argument":
            positional += [value if one is param else "first"] if one.required or one is param else []
        elif one.required:
            options[one.opts[0]] = REQUIRED[one.opts[0]]
    if param.param_type_name == "option":
        options[param.opts[0]] = value
    return [*name.split(), *(f"{flag}={given}" for flag, given in options.items()), "--", *positional]


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_values(name: str, refused: Refused, wrong_files: None) -> None:
    draw = random.Random(zlib.crc32(name.encode()))
    for param in COMMANDS[name].params:
        if getattr(param, "is_flag", False) or param.hidden if param.param_type_name == "option" else False:
            continue
        if (name, param.opts[0]) in NOT_REFUSED:
            continue
        line = refused(*words(name, param, draw.choice(VALUES)))
        assert not FOREIGN.search(line), line


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_left_out_is_named_with_the_right_help(name: str, refused: Refused) -> None:
    unknown = refused(*name.split(), "--colour")
    assert unknown.startswith("autogate: No such option: --colour")
    assert unknown.endswith(f"; see autogate {name} --help")
    flags = [one.opts[0] for one in COMMANDS[name].params if one.param_type_name == "option" and not one.is_flag]
    for flag in flags[:1]:
        line = refused(*name.split(), flag)
        assert line == f"autogate: Option {flag!r} requires an argument; see autogate {name} --help"
    if any(param.required for param in COMMANDS[name].params):
        missing = refused(*name.split())
        assert missing.startswith("autogate: Missing ")
        assert missing.endswith(f"; see autogate {name} --help")


def wrong_network(seed: int) -> tuple[str, str]:
    """Return the source of a network with one layer that does not fit, and what is to be said of it."""
    draw = random.Random(seed)
    widths = [3, *(draw.randint(4, 12) for _ in range(4))]
    at, more = draw.randrange(1, 4), draw.randint(1, 3)
    layers = [
        f"nn.Conv2d({before + more * (i == at)}, {after}, 3, padding=1)"
        for i, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True))
    ]
    source = f"""
from torch import nn
def build():
    return nn.Sequential({", ".join(layers)}, nn.Flatten(), nn.Linear({widths[-1] * 32 * 32}, 10))
"""
    return source, f"layer '{at}' (Conv2d) takes {widths[at] + more} channels and gets (1, {widths[at]}, 32, 32)"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("command", [("sites",), ("profile", "--out", "p.jsonl"), ("search", "--pareto")])
def test_networks_with_one_wrong_layer(seed: int, command: tuple[str, ...], refused: Refused) -> None:
    source, said = wrong_network(seed)
    name = f"wrongnet{seed}"
    Path(f"{name}.py").write_text(source, encoding="utf-8")
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        assert said in refused(*command, "--model", f"{name}:build")
    finally:
        sys.modules.pop(name, None)
        sys.dont_write_bytecode = before


def test_numbers_are_refused_as_everywhere_else(refused: Refused) -> None:
    for flag, kind in (("--epochs", "a whole number"), ("--lr", "a number"), ("--gpus-per-trial", "a number")):
        line = refused("search", "--pareto", f"{flag}=many")
        assert line == f"autogate: {flag} must be {kind}, not 'many'; see autogate search --help"


def nodes(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a document of JSON."""
    if path:
        yield path
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from nodes(value, (*path, key))


SPACE = {
    "schema": "autogate.space/1",
    "tie": {"block": "stage"},
    "sites": {"block": [{"family": "mod", "genes": {"share": [0.25, 0.5]}, "place": ["stage1"]}]},
    "training": {"targeted_dropout": [0.0, 0.5]},
}
POLICY = {"schema": "autogate.policy/1", "gates": {"block:a": {"family": "drop", "genes": {}}}, "training": {}}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["space", "policy", "config"])
def test_files_with_one_wrong_part(seed: int, kind: str, refused: Refused) -> None:
    draw = random.Random(seed)
    whole = {"space": SPACE, "policy": POLICY, "config": {"model": "nowhere:build", "trials": 5, "std": "1,1,1"}}[kind]
    document = json.loads(json.dumps(whole))
    *way, last = draw.choice(list(nodes(document)))
    at = document
    for key in way:
        at = at[key]
    at[last] = draw.choice([None, 5, -1, "odd", "", [], {}, [[1]], {"a": {"b": 1}}, True])
    path = Path("wrong.json" if kind == "policy" else "wrong.yaml")
    path.write_text(json.dumps(document), encoding="utf-8")
    line = refused(
        *{
            "space": ("search", "--pareto", *ABSENT, "--space", path),
            "policy": ("predict", "first", path),
            "config": ("search", "--pareto", "--config", path, *ABSENT),
        }[kind]
    )
    assert not FOREIGN.search(line), line
