"""What is loaded, seen from fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autogate.goals import make_config
from autogate.policy import Gate, Policy
from autogate.records import TrialRecord
from autogate.space import load_space
from autogate.store import Store
from autogate.system import VERSION

HEAVY = ("torch", "torch_pruning", "ray", "onnx", "onnxruntime", "plotly", "timm", "torchvision")
RUN = """
import json, sys
sys.argv = ["autogate", *{arguments!r}]
code = 0
if sys.argv[1:]:
    from autogate.cli.main import main
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
else:
    import autogate
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)
"""


def loaded_by(arguments: list[str], where: Path) -> tuple[list[str], str]:
    """Return the heavy packages that ``autogate ARGUMENTS`` loads, and its standard output."""
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
    assert exit_code == 0, done.stderr
    return heavy, done.stdout


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


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by([], tmp_path)[0] == []


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
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_reading_commands_load_no_torch(studies: Path, arguments: list[str], shown: str) -> None:
    heavy, printed = loaded_by(arguments, studies)
    assert heavy == []
    assert shown in printed


def test_names_are_found_when_they_are_used(tmp_path: Path) -> None:
    code = (
        "import autogate, sys; autogate.Policy; assert 'torch' not in sys.modules; autogate.list_spaces(); print('ok')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stdout == "ok\n", done.stderr


def test_every_public_name_exists_and_is_documented() -> None:
    import autogate

    for name in autogate.__all__:
        assert getattr(autogate, name).__doc__
    assert set(autogate.__all__) <= set(dir(autogate))
    with pytest.raises(AttributeError, match="serach"):
        autogate.serach  # noqa: B018
    assert autogate.__version__ == VERSION


def test_no_package_hides_a_public_function() -> None:
    import autogate

    folder = Path(autogate.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(autogate.__all__)
