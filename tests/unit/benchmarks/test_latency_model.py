"""What benchmarks write beside their numbers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import ROOT

FILE = ROOT / "benchmarks" / "latency_model.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return the benchmark of the latency model, measuring nothing, with results below ``tmp_path``."""
    spec = importlib.util.spec_from_file_location("latency_model", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loads = iter(range(10))
    monkeypatch.setattr(module, "__file__", str(tmp_path / "latency_model.py"))
    monkeypatch.setattr(module, "machine_facts", lambda: {"cpu": "a made-up processor", "load": next(loads)})
    monkeypatch.setattr(module, "validated", lambda network, batch_size, args: {"model": {"mape": 0.01}})
    monkeypatch.setattr(module, "units_with_gates", lambda *args, **more: {"seen": 0.02})
    monkeypatch.setattr(module, "pooled", lambda results: {})
    monkeypatch.setattr(module, "line", lambda document: "")
    (tmp_path / "results").mkdir()
    return module


def test_each_row_has_its_own_command_and_machine(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "results" / "latency_model_cpu.json"
    out.write_text(json.dumps({"machine": {"cpu": "an old one"}, "resnet20, batch 1": {"seed": 1}}), encoding="utf-8")

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["latency_model.py", *words])
        benchmark.main()

    run("--only", "resnet20", "--batch-size", "1", "8", "--time", "2m")
    run("--only", "resnet56", "--batch-size", "1", "--keep", str(tmp_path / "kept"))
    run("--only", "resnet56", "--batch-size", "1", "--keep", str(tmp_path / "kept"), "--units")
    found = json.loads(out.read_text(encoding="utf-8"))
    # What was there stays as it was.
    assert found["machine"] == {"cpu": "an old one"}
    assert found["resnet20, batch 1"] == {"seed": 1}
    first, second = found["resnet20, batch 8"], found["resnet56, batch 1"]
    assert first["command"] == "python benchmarks/latency_model.py --only resnet20 --batch-size 1 8 --time 2m"
    assert second["command"] == "python benchmarks/latency_model.py --only resnet56 --batch-size 1 --keep kept"
    assert second["units_with_gates"]["command"].endswith("--keep kept --units")
    rows = (first, second, second["units_with_gates"])
    assert [row["machine"]["load"] for row in rows] == [0, 1, 2]
    assert first["model"] == {"mape": 0.01}
    assert second["units_with_gates"]["seen"] == 0.02
