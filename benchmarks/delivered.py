"""Is what was delivered within its budget, timed again later by a program that knows nothing of AutoGate?

    python benchmarks/delivered.py --runtime RUNTIME [--dtype int8] [--models NAME ...] [--threads N] [--to FOLDER]

For each network a study on the digits is searched under the first budget, and judged anew under the others; the best of
each is exported. When all are there, `timed_again.py` times them, one after the other, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from autogate.latency.hardware import machine_facts

BUDGETS = ("85%", "75%", "65%", "55%", "45%")
HERE = Path(__file__).parent
# Beyond the budget by more than this is a budget that was not kept.
TOLERANCE = 0.03


def main() -> None:
    """Search, export, time again, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet32", "resnet44", "resnet56"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--to", type=Path, default=Path("delivered"))
    asked = parser.parse_args()
    exports = [path for model in asked.models for path in _exports(asked, model)]
    command = [sys.executable, str(HERE / "timed_again.py"), *map(str, exports)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    rows = json.loads(done.stdout)
    for row in rows:
        row["over_budget"] = row["p50_ms"] / row["budget_ms"] - 1
    out = HERE / "results" / "delivered.json"
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    result["machine"] = machine_facts()
    over = [row["export"] for row in rows if row["over_budget"] > TOLERANCE]
    result[f"{asked.runtime}, {asked.dtype}"] = {"over_by_more_than_3_percent": over, "networks": rows}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(over)} of {len(rows)} over their budgets by more than {TOLERANCE:.0%}: {', '.join(over) or 'none'}")


def _exports(asked: argparse.Namespace, model: str) -> list[Path]:
    """Search one study, judge it under every budget, and return the exports of what met them."""
    study = f"{model}-{asked.runtime}-{asked.dtype}"
    asked.to.mkdir(parents=True, exist_ok=True)
    storage = f"--storage=sqlite:///{asked.to / 'studies.db'}"
    found = []
    for i, budget in enumerate(BUDGETS):
        goal = [f"--latency-budget={budget}", storage, "--format=json"]
        setting = [f"--model={model}", f"--runtime={asked.runtime}", f"--dtype={asked.dtype}"]
        first = [f"--threads={asked.threads}", f"--trials={asked.trials}", f"--study={study}"]
        done = _autogate("resume", study, *goal) if i else _autogate("search", *setting, *first, *goal)
        if done.returncode != 0:
            print(f"{study} {budget}: {done.stderr.splitlines()[-1]}", flush=True)
            continue
        path = asked.to / f"{study}-{budget.removesuffix('%')}"
        exported = _autogate("export", study, f"--to={path}", storage)
        if exported.returncode != 0:
            raise SystemExit(exported.stderr)
        result = json.loads((path / "report.json").read_text(encoding="utf-8"))["result"]
        print(f"{path.name}: {result['ratio']:.3f} of dense, meets its budget: {result['meets_budget']}", flush=True)
        found.append(path)
    return found


def _autogate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autogate.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program


if __name__ == "__main__":
    main()
