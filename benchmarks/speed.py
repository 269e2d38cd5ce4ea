"""How long AutoGate itself takes: start-up, profiling, predicting, per-trial overhead, refusing a budget.

python benchmarks/speed.py [--out benchmarks/results/speed.json]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from scaling import Stopwatch, record

import autogate
from autogate import api
from autogate.goals import make_config
from autogate.latency.model import LatencyModel
from autogate.models import load_model
from autogate.nas.loop import prepare_search
from autogate.nas.proposing import ProposalLimits, Proposer, Sensitivity
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.store import Store
from autogate.studies import Reporter, StudyRun


def main() -> None:
    """Measure everything and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/study.db"
        result: dict[str, Any] = {
            "machine": api.doctor(storage=url).to_json()["cpu"],
            "python": platform.python_version(),
            "torch": torch.__version__,
            "autogate": autogate.__version__,
            "help_s": _help(),
            "import_s": _run_seconds([sys.executable, "-c", "import autogate"], 5),
            "quick_profile_s": _profile(url),
            "predict_ms": _predict(url),
            "overhead_ms_per_trial": _overhead(url),
            "impossible_budget_s": _impossible(folder),
        }
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _run_seconds(command: list[str], runs: int) -> float:
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own command
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _help() -> float:
    return _run_seconds([sys.executable, "-m", "autogate.cli.main", "--help"], 5)


def _profile(url: str) -> float:
    start = time.perf_counter()
    api.profile("resnet20", storage=url, batch_size=1)
    return time.perf_counter() - start


def _latency(url: str, model: str = "resnet20") -> LatencyModel:
    network = find_sites(load_model(model).module, (3, 32, 32))
    return LatencyModel(Store(url).profiles(model)[0], network)


def _predict(url: str) -> dict[str, float]:
    """Median over random policies, each predicted for the first time, and again."""
    latency = _latency(url)
    config = make_config(space=load_space("unified").to_json(), pareto=True)
    context = prepare_search(StudyRun(Store(url), "", config, Reporter()), latency.network, torch.device("cpu"))

    rng = random.Random(0)
    proposer = Proposer(
        context.space,
        latency.network.sites,
        ProposalLimits(lambda policy: 0.0, 1.0, 1.0, context.fastest),
        Sensitivity({}, {}),
        0,
    )
    policies = [proposer.policy(context.space.draw(lambda _, choices: rng.choice(choices))) for _ in range(300)]
    first, again = [], []
    for times in (first, again):
        for policy in policies:
            start = time.perf_counter()
            latency.predict(policy)
            times.append((time.perf_counter() - start) * 1e3)
    return {"first_median": statistics.median(first), "again_median": statistics.median(again)}


def _overhead(url: str, trials: int = 60) -> dict[str, float]:
    """Time per trial without training, and of it what finding the candidate takes; some 30 decisions."""
    record(url, "resnet32", latency_budget="60%")
    watch = Stopwatch(Store(url), "overhead", trials=trials)
    for _ in range(trials):
        watch.one()
    found = watch.figures(slice(None))
    decisions = len(watch.driver.proposer.space.all_choices())
    return {
        "genes": decisions,
        "trials": trials,
        "outside_sampler": found["outside_ms"],
        "sampler": found["proposing_ms"],
    }


def _impossible(folder: str) -> float:
    """Seconds until ``autogate search`` refuses a budget that nothing can meet."""
    command = [
        sys.executable,
        "-m",
        "autogate.cli.main",
        "search",
        "--latency-budget",
        "1%",
        "--storage",
        f"sqlite:///{folder}/impossible.db",
    ]
    start = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own command
    assert done.returncode == 3, done.stderr
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
