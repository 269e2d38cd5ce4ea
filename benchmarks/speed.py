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

import autogate
from autogate import api
from autogate.latency import LatencyModel
from autogate.models import load_model
from autogate.search.config import make_config
from autogate.search.driver import Driver
from autogate.search.objective import Objective
from autogate.search.prepare import prepare_ground
from autogate.search.proposals import Proposer, Sensitivity, savings
from autogate.search.reporter import Reporter
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.store import Store
from autogate.training import Methods


def main() -> None:
    """Measure everything and write one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/study.db"
        result: dict[str, Any] = {
            "machine": api.doctor(storage=url)["cpu"],
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
    ground = prepare_ground(config, latency.network, torch.device("cpu"), Store(url), {}, Reporter())

    rng = random.Random(0)
    proposer = Proposer(
        ground.space, latency.network.sites, lambda policy: 0.0, 1.0, 1.0, Sensitivity({}, {}), ground.lightest, 0
    )
    policies = [proposer.policy(ground.space.draw(lambda _, choices: rng.choice(choices))) for _ in range(300)]
    first, again = [], []
    for times in (first, again):
        for policy in policies:
            start = time.perf_counter()
            latency.predict(policy)
            times.append((time.perf_counter() - start) * 1e3)
    return {"first_median": statistics.median(first), "again_median": statistics.median(again)}


class _Recorded:
    """Answers with an accuracy at once, so that only AutoGate's own time is left."""

    def __init__(self) -> None:
        from autogate.search.evaluator import Evaluator

        self.key = lambda policy, recipe, fidelity: Evaluator.key(self, policy, recipe, fidelity)  # type: ignore[arg-type]
        self.start_digest, self.seed = "0" * 16, 0
        self.methods = Methods()
        self.task_digest = "0" * 16

    def run(self, policy: Any, recipe: Any, fidelity: str, reporter: Any) -> Any:
        from autogate.records import Evaluation, Realisation

        return Evaluation(self.key(policy, recipe, fidelity), 0.5, Realisation({}), 0.0), None


def _overhead(url: str, trials: int = 60) -> dict[str, float]:
    """Time per trial without training, and of it the share of the sampler (Optuna's ask)."""
    from autogate.training import Recipe

    # Of the CIFAR networks, this one has about 30 decisions.
    api.profile("resnet32", storage=url, batch_size=1)
    latency = _latency(url, "resnet32")
    store = Store(url)
    config = make_config(model="resnet32", space=load_space("unified").to_json(), latency_budget="60%")
    ground = prepare_ground(config, latency.network, torch.device("cpu"), store, {}, Reporter())
    store.create_study("overhead", config.to_json())
    objective = Objective.of(config, latency.dense_ms)
    saved = savings(ground.space, latency)
    sensitivity = Sensitivity(dict.fromkeys(saved, 0.01), saved)
    proposer = Proposer(
        ground.space,
        latency.network.sites,
        lambda policy: latency.typical(policy).upper("p95"),
        objective.limit_ms,
        latency.dense_ms,
        sensitivity,
        ground.lightest,
        0,
    )
    driver = Driver(
        store,
        "overhead",
        objective,
        latency,
        proposer,
        _Recorded(),
        Recipe(1, 0.1),
        Reporter(),
        0,  # type: ignore[arg-type]
    )
    asked: list[float] = []
    ask = driver.optuna_study.ask

    def timed_ask(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return ask(*args, **kwargs)
        finally:
            asked.append(time.perf_counter() - start)

    driver.optuna_study.ask = timed_ask  # type: ignore[method-assign]
    start = time.perf_counter()
    driver.run(trials, trainings=None, timeout_s=None)
    total = time.perf_counter() - start
    return {
        "genes": len(ground.space.all_choices()),
        "trials": trials,
        "outside_sampler": (total - sum(asked)) / trials * 1e3,
        "sampler": sum(asked) / trials * 1e3,
    }


def _impossible(folder: str) -> float:
    """Seconds until ``autogate search`` refuses a budget that nothing can meet."""
    command = [
        sys.executable, "-m", "autogate.cli.main", "search", "--latency-budget", "1%",
        "--storage", f"sqlite:///{folder}/impossible.db",
    ]  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own command
    assert done.returncode == 3, done.stderr
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
