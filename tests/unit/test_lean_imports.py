"""What is loaded, seen from fresh processes."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autogate import api
from autogate.goals import make_config
from autogate.policy import Gate, Policy
from autogate.records import TrialRecord
from autogate.space import load_space
from autogate.store import Store
from autogate.system import VERSION

pytestmark = pytest.mark.e2e  # other processes

HEAVY = ("torch", "torch_pruning", "ray", "onnx", "onnxruntime", "plotly", "timm", "torchvision")
RUN = """
import json, sys
sys.argv = ["autogate", *{arguments!r}]
code = 0
from autogate.cli.main import main
try:
    main()
except SystemExit as stop:
    code = stop.code or 0
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)
"""


def loaded_by(arguments: list[str], where: Path, code_wanted: int = 0) -> tuple[list[str], str]:
    """Return the heavy packages that ``autogate ARGUMENTS`` loads, and what it prints."""
    code = RUN.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=where,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    exit_code, heavy = json.loads(done.stderr.splitlines()[-1])
    assert exit_code == code_wanted, done.stderr
    return heavy, done.stdout + done.stderr


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Return a directory whose database holds a study with two trials."""
    store = Store(f"sqlite:///{tmp_path / 'studies' / 'autogate.db'}", create=True)
    config = make_config(space=load_space("drop").to_json(), latency_budget="60%")
    store.create_study("first", config)
    policy = Policy({"block:layer1.1": Gate("drop")})
    predicted = {"mean": 1.0, "p50": 1.0, "p95": 1.0, "max": 1.0, "upper": 1.1}
    store.add_trial("first", TrialRecord(0, "complete", policy, 0.9, predicted, {"macs_paper": 1.0}, None, 1.0))
    store.add_trial("first", TrialRecord(1, "rejected", Policy(), None, predicted, None, "too slow", 0.1))
    return tmp_path


def test_import_loads_nothing_but_the_standard_library(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import autogate; "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    assert printed_by(code, tmp_path) == "['autogate']\n"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "search"),
        (["search", "--help"], "--latency-budget"),
        (["spaces"], "unified"),
        (["spaces", "--format", "json"], "autogate.space/1"),
        (["studies"], "first"),
        (["studies", "--format", "json"], '"study": "first"'),
        (["show", "first"], "90.00%"),
        (["show", "first", "--format", "json"], "autogate.search/1"),
        (["pareto", "first", "--latency-budget", "40%"], "90.00%"),
        (["pareto", "first", "--history"], "trial"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_reading_commands_load_no_torch(studies: Path, arguments: list[str], shown: str) -> None:
    heavy, printed = loaded_by(arguments, studies)
    assert heavy == []
    assert shown in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["search"], "give exactly one of --latency-budget"),
        (["search", "--pareto", "--batch-size", "0"], "--batch-size must be"),
        (["search", "--pareto", "--space", "unifeid"], "no search space 'unifeid'"),
        (["resume", "nosuch"], "there is no study 'nosuch'"),
        (["resume", "first", "--latency-budget", "5"], "latency budget '5' has no unit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_refused_before_torch_is_loaded(studies: Path, arguments: list[str], complaint: str) -> None:
    heavy, printed = loaded_by(arguments, studies, code_wanted=2)
    assert heavy == []
    assert f"autogate: {complaint}" in printed


def printed_by(code: str, where: Path) -> str:
    """Return what Python prints that runs ``code`` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=where, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_is_there_documented_and_lean(tmp_path: Path) -> None:
    code = (
        "import autogate, sys; print([name for name in autogate.__all__ if not getattr(autogate, name).__doc__]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules]); autogate.list_spaces(); "
        "print(autogate.__version__, 'torch' in sys.modules)"
    )
    assert printed_by(code, tmp_path) == f"[]\n[]\n{VERSION} False\n"


def test_public_names_are_those_of_the_api() -> None:
    import autogate

    elsewhere = {"AutoGateError", "BudgetInfeasibleError", "Gate", "Policy"}
    assert set(autogate.__all__) == {*api.__all__, *elsewhere} - {"resume_command", "terminal_reporter"}
    assert {*autogate.__all__, "__version__"} <= set(dir(autogate))
    with pytest.raises(AttributeError, match="serach"):
        autogate.serach  # noqa: B018


def test_functions_return_results_rather_than_dictionaries() -> None:
    for name in api.__all__:
        if inspect.isfunction(function := getattr(api, name)):
            assert "dict[str, Any]" not in str(inspect.signature(function).return_annotation), name


def test_no_package_hides_a_public_function() -> None:
    import autogate

    folder = Path(autogate.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(autogate.__all__)
