"""The same kills of a driver, through plain Ray Tune with OptunaSearch and its own restore."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna

_TRIALS = 12
_LONGEST_S = 300.0

SCRIPT = """
import os, sys, time
import optuna, ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

folder, url = sys.argv[1:]

def train(config):
    # As long as a candidate of the other studies takes; each step is written down.
    for step in range(30):
        with open(folder + "/steps.log", "a") as file:
            file.write(f"{config['x']:.6f} {step}\\n")
        time.sleep(0.1)
    tune.report({"score": config["x"]})

ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2)
path = folder + "/tune/study"
if tune.Tuner.can_restore(path):
    tuner = tune.Tuner.restore(path, trainable=train, resume_unfinished=True, restart_errored=True)
else:
    search = OptunaSearch(
        {"x": optuna.distributions.FloatDistribution(0, 1)}, metric="score", mode="max", study_name="plain",
        storage=optuna.storages.RDBStorage(url),
    )
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        tune_config=tune.TuneConfig(search_alg=search, num_samples=TRIALS),
        run_config=tune.RunConfig(name="study", storage_path=folder + "/tune", verbose=0,
                                  failure_config=tune.FailureConfig(max_failures=3)),
    )
print(len(tuner.fit()))
""".replace("TRIALS", str(_TRIALS))


def plain_ray(work: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill the driver ``kills`` times, restore after each, and return what Optuna's study holds in the end."""
    folder = work / "plain"
    folder.mkdir()
    (folder / "plain.py").write_text(SCRIPT, encoding="utf-8")
    url = f"sqlite:///{folder / 'plain.db'}"
    process = _start(folder, url)
    struck = 0
    for _ in range(kills):
        before = _steps(folder)
        end_s = time.monotonic() + _LONGEST_S
        while process.poll() is None and _steps(folder) < before + 10 and time.monotonic() < end_s:
            time.sleep(0.1)
        if process.poll() is not None:
            break
        time.sleep(rng.uniform(0.0, 1.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        struck += 1
        process = _start(folder, url)
    process.wait(_LONGEST_S)
    trials = optuna.load_study(study_name="plain", storage=url).get_trials(deepcopy=False)
    states = Counter(trial.state.name for trial in trials)
    finished = Counter(
        line.split()[0] for line in (folder / "steps.log").read_text().splitlines() if line.split()[1] == "29"
    )
    return {
        "kills_of_the_driver": struck,
        "trials_asked": _TRIALS,
        "trials_in_the_study": len(trials),
        "states": dict(states),
        "left_running": states["RUNNING"] + states["WAITING"],
        "trained_to_the_end": sum(finished.values()),
        "trained_twice": sum(count - 1 for count in finished.values()),
        "trained_and_not_in_the_study": sum(finished.values()) - states["COMPLETE"],
    }


def _start(folder: Path, url: str) -> subprocess.Popen[bytes]:
    errors = (folder / "plain.err").open("ab")
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, str(folder / "plain.py"), str(folder), url],
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )


def _steps(folder: Path) -> int:
    log = folder / "steps.log"
    return len(log.read_text().splitlines()) if log.exists() else 0
