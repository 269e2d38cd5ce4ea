"""Searches beside a process that keeps one core busy all the time, and their winners when the machine is quiet again.

    python benchmarks/noisy_neighbour.py [--runs 5] [--core 1] [--budget 60%] [--runtime auto] [--limit 30m] [--out F]

Every run is the README's first command in a database of its own. A verdict holds if the winner, timed beside dense on
the quiet machine, meets the budget. Needs a relative budget, ``taskset``, and a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import autogate
from autogate import api
from autogate.system import load_of_others
from autogate.units import parse_duration

AUTOGATE = (sys.executable, "-m", "autogate.cli.main")
SETTLE_S = 5.0


def main() -> None:
    """Run all searches and write one JSON document, after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--core", type=int, default=1, help="core that the neighbour keeps busy")
    parser.add_argument("--budget", default="60%")
    parser.add_argument("--runtime", default="auto", help="runtime to search in")
    parser.add_argument("--limit", default="30m", help="longest time of one search")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "noisy_neighbour.json")
    asked = parser.parse_args()
    result: dict[str, Any] = {
        "machine": api.doctor().to_json()["cpu"],
        "autogate": autogate.__version__,
        "neighbour": f"taskset -c {asked.core} yes",
        "budget": asked.budget,
        "runtime": asked.runtime,
        "load_before": load_of_others(3.0),
        "runs": [],
    }
    for number in range(asked.runs):
        with tempfile.TemporaryDirectory() as folder:
            run = one_run(Path(folder), number, asked, parse_duration(asked.limit))
        result["runs"].append(run)
        asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(run))


def one_run(folder: Path, number: int, asked: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """Search beside the neighbour; time the winner, if there is one, without it."""
    storage = ("--storage", f"sqlite:///{folder}/studies.db")
    begun = time.monotonic()
    target = ("--latency-budget", asked.budget, "--runtime", asked.runtime)
    with neighbour(asked.core):
        options = (*target, "--study", "noisy", "--seed", str(number), "--format", "json")
        done = autogate_run("search", *options, *storage, limit_s=limit_s)
    found: dict[str, Any] = {
        "exit_code": done.returncode,
        "seconds": round(time.monotonic() - begun, 1),
        "said": [line for line in done.stderr.splitlines() if line.strip()][-3:],
    }
    best = json.loads(done.stdout)["best"] if done.stdout.strip() else None
    if best is None:
        return found
    time.sleep(SETTLE_S)
    autogate_run("export", "noisy", "--to", str(folder / "out"), *storage, limit_s=limit_s, check=True)
    quiet = autogate_run("measure", str(folder / "out"), "--format", "json", limit_s=limit_s, check=True)
    again = json.loads(quiet.stdout)
    share = float(asked.budget.rstrip("%x")) / (100 if asked.budget.endswith("%") else 1)
    return {
        **found,
        "winner": best,
        "quiet_ratio": again["ratio"],
        "quiet_interval": again["ratio_interval"],
        "quiet_dense_ms": again["dense"]["p50"],
        "verdict_holds": again["ratio"] <= share,
    }


def autogate_run(*arguments: str, limit_s: float, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run ``autogate`` with its usual threads."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.run(  # noqa: S603 - our own command
        [*AUTOGATE, *arguments], check=check, capture_output=True, text=True, timeout=limit_s, env=environment
    )


@contextmanager
def neighbour(core: int) -> Iterator[None]:
    """Keep one core busy."""
    command = ["taskset", "-c", str(core), "yes"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as busy:  # noqa: S603 - our own command
        try:
            yield
        finally:
            busy.kill()


if __name__ == "__main__":
    main()
