"""A setting is declared once: one more field is seen by every command, file, function and page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

import autogate
from autogate.errors import AutoGateError
from autogate.goals import (
    BUDGETS,
    FREE,
    GROUPS,
    TARGET,
    Option,
    ProfileSettings,
    ResumeSettings,
    SearchConfig,
    SearchSettings,
    SensitivitySettings,
    make_config,
    settings_of,
    taken_by,
)
from autogate.space import load_space
from autogate.units import parse_duration
from tools.settings import ROOT, files, keywords_module, reference_page

SETTINGS = settings_of(SearchConfig)
SPACE = load_space("drop").to_json()
WARM_UP = """
    warm_up_s: Annotated[
        float,
        Field(gt=0, le=60),
        Option("Time to warm up for.", "target", unit="s", on_resume="free", flag="warm-up", parse=parse_duration),
    ] = 3.0
"""


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which one field was added to the model, and the one command was run."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("autogate", "tools", "docs", "search_spaces"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = root / "autogate/goals/problem.py"
    source = path.read_text(encoding="utf-8").replace("import parse_bytes,", "import parse_bytes, parse_duration,")
    path.write_text(f"{source}{WARM_UP}", encoding="utf-8")
    assert run(root, "-m", "tools.settings", "--check").returncode == 1
    assert run(root, "-m", "tools.settings").returncode == 0
    assert run(root, "-m", "tools.settings", "--check").returncode == 0
    return root


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.e2e
@pytest.mark.parametrize("command", ["search", "resume"])
def test_one_more_field_is_an_option(edited: Path, command: str) -> None:
    shown = run(edited, "-m", "autogate.cli.main", command, "--help").stdout
    target = shown.split("\nTarget:\n")[1].split("\n\n")[0]
    assert "--warm-up" in target
    assert "Time to warm up for" in target


@pytest.mark.e2e
def test_one_more_field_is_checked_on_the_command_line(edited: Path) -> None:
    search = ("-m", "autogate.cli.main", "search", "--pareto")
    for typed, complaint in (
        (("--warm-up", "3"), "--warm-up: duration '3' has no unit; write it like 90s, 5m or 2h"),
        (("--warm-up", "2m"), "--warm-up must be at most 60, not 120"),
    ):
        refused = run(edited, *search, *typed)
        assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", f"autogate: {complaint}\n")


@pytest.mark.e2e
def test_one_more_field_is_a_key_of_configuration_files(edited: Path) -> None:
    for text, complaint in (
        ("warm_up: 5m", "--warm-up must be at most 60, not 300"),
        ("warm_up: 5", "mine.yaml: warm_up must be a text, not 5; put it in quotes"),
        ("warm_ups: 5m", "mine.yaml: unknown option 'warm_ups'; did you mean warm_up?; see autogate search --help"),
    ):
        (edited / "mine.yaml").write_text(f"pareto: true\n{text}\n", encoding="utf-8")
        refused = run(edited, "-m", "autogate.cli.main", "search", "--config", "mine.yaml")
        assert (refused.returncode, refused.stderr) == (2, f"autogate: {complaint}\n")


@pytest.mark.e2e
def test_one_more_field_is_a_keyword_of_the_functions(edited: Path) -> None:
    code = (
        "import inspect, autogate, autogate.goals as goals\n"
        "from autogate.errors import AutoGateError\n"
        "for name in ('search', 'resume', 'dry_run'):\n"
        "    print(inspect.signature(getattr(autogate, name)).parameters['warm_up_s'])\n"
        "for keywords in (goals.SearchSettings, goals.ResumeSettings, goals.ProfileSettings):\n"
        "    print('warm_up_s' in keywords.__annotations__)\n"
        "print('warm_up_s' in goals.FREE)\n"
        "try:\n    autogate.dry_run(pareto=True, warm_up_s=61)\n"
        "except AutoGateError as error:\n    print(error)\n"
    )
    done = run(edited, "-c", code)
    assert done.stdout.splitlines() == [
        "warm_up_s: float = 3.0",
        "warm_up_s: float = Ellipsis",
        "warm_up_s: float = 3.0",
        "True",
        "True",
        "False",
        "True",
        "--warm-up must be at most 60, not 61",
    ], done.stderr


@pytest.mark.e2e
def test_one_more_field_is_on_the_reference_page(edited: Path) -> None:
    [line] = [line for line in (edited / "docs/options.md").read_text(encoding="utf-8").splitlines() if "warm" in line]
    assert line.startswith("| `--warm-up` | `warm_up_s` |")
    assert "Time to warm up for." in line


def test_what_is_made_from_the_model_is_up_to_date() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, f"run python -m tools.settings: {path}"


def test_the_keywords_are_those_of_the_model() -> None:
    for command, keywords in (
        ("search", SearchSettings),
        ("resume", ResumeSettings),
        ("profile", ProfileSettings),
        ("sensitivity", SensitivitySettings),
    ):
        expected = {n: s for n, s in taken_by(SearchConfig, command).items() if not s.option.positional}
        hints = typing.get_type_hints(keywords)
        assert set(hints) == set(expected)
        for name, setting in expected.items():
            assert hints[name] == (setting.type | None if setting.optional else setting.type)
        shown = autogate.__dict__.get(command) or getattr(autogate, command)
        assert set(expected) <= set(typing.cast(Any, shown).__signature__.parameters)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_says_what_it_is(name: str) -> None:
    setting = SETTINGS[name]
    option = setting.option
    assert option.help[-1] == "."
    assert option.help.count(". ") <= 1
    assert option.group in GROUPS
    if name not in ("space", "pareto"):
        assert getattr(make_config(space=SPACE, pareto=True), name) == setting.default
    if option.parse is not None and option.default_text is not None:
        assert setting.parse(option.default_text) == setting.default
    if setting.type is bool:
        assert setting.default is False  # a flag turns it on
    if name.endswith("_s"):
        assert option.unit == "s"
    if name.endswith("_bytes"):
        assert option.unit == "bytes"


def test_flags_are_not_used_twice() -> None:
    flags = [setting.flag for setting in SETTINGS.values()]
    assert len(set(flags)) == len(flags)


def test_what_a_resume_may_change() -> None:
    search, who_trains = "trials trainings timeout_s finalists allow_stale sampler", "workers backend ray_address"
    further = ("gpus_per_trial", "cpus_per_trial", "train_threads", "fresh_profile")
    assert set(FREE) == {*search.split(), *who_trains.split(), *further}
    assert set(BUDGETS) == {"latency_budget", "max_drop", "memory_budget", "energy_budget"}
    assert set(TARGET) == {"device", "batch_size", "dtype", "layout", "threads", "runtime", "profile", "latency_stat"}


def beyond(bounds: typing.Mapping[str, float]) -> list[float]:
    """Return a value outside each bound."""
    steps = {"gt": 0, "ge": -1, "lt": 0, "le": 1}
    return [value + steps[bound] for bound, value in bounds.items()]


WRONG = [(name, value) for name, setting in SETTINGS.items() for value in beyond(setting.bounds)]
PYDANTIC = ("Input should", "Extra inputs", "valid", "Field required", "validation", "greater than", "less than")


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_each_bound_refuses_with_one_line(name: str, value: float) -> None:
    with pytest.raises(AutoGateError) as raised:
        make_config(**{"space": SPACE, "pareto": True, name: value})
    line = str(raised.value)
    assert line.startswith(f"{SETTINGS[name].flag} must be ")
    assert line.endswith(f", not {value:.10g}") or line.endswith(f", not {value}")
    assert "\n" not in line


def refusal(name: str, value: object) -> str | None:
    """Return what a user reads who gives this value; None if it is taken."""
    try:
        make_config(**{"space": SPACE, "pareto": True, name: value})
    except AutoGateError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", SETTINGS)
def test_no_word_of_pydantic_reaches_a_user(name: str) -> None:
    values = (object(), [], {"a": 1}, "?", -1, 1.5, float("nan"), None)
    lines = [line for line in (refusal(name, value) for value in values) if line is not None]
    assert lines
    for line in lines:
        assert "\n" not in line
        assert not [words for words in PYDANTIC if words in line], line
        assert (
            SETTINGS[name].flag in line or f"{name.replace('_', ' ')} '?' is not a number" in line or name == "max_drop"
        )


def test_unknown_settings_of_functions() -> None:
    for call, complaint in (
        (lambda: autogate.search(bach_size=3, pareto=True), "unknown setting 'bach_size'; did you mean batch_size?"),
        (lambda: autogate.dry_run(colour="red").to_json(), "unknown setting 'colour'; known: latency_budget, "),
        (lambda: autogate.profile(trials=3), "unknown setting 'trials'; "),
        (
            lambda: autogate.sensitivity(family="drop", latency_budget="5ms").to_json(),
            "unknown setting 'latency_budget'; known:",
        ),
    ):
        with pytest.raises(AutoGateError) as raised:
            call()
        assert str(raised.value).startswith(complaint)


def test_a_field_without_an_option_is_refused() -> None:
    class Wrong(BaseModel):
        depth: Annotated[int, Field(gt=0)] = 3

    with pytest.raises(TypeError, match="field 'depth' has no Option"):
        settings_of(Wrong)


def test_pages_of_other_models() -> None:
    class Small(BaseModel):
        wait_s: Annotated[
            float | None, Option("Wait.", "target", unit="s", commands=("profile",), flag="wait", parse=parse_duration)
        ] = None

    assert "    wait_s: float | None\n" in keywords_module(Small).split("class ProfileSettings")[1]
    assert "wait_s" not in keywords_module(Small).split("class ProfileSettings")[0]
    assert "| `--wait` | `wait_s` |" in reference_page(Small)
