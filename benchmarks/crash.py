"""Kill a search again and again, in every way, and count what was lost, repeated or left behind.

    python benchmarks/crash.py [--kills 40] [--seed 0] [--out benchmarks/results/crash.json]

Studies of a small network on scanned digits are really trained, in SQLite with two workers, in PostgreSQL with two
workers, and in SQLite on a local Ray cluster. After every kill that ends the driver, ``autogate resume`` goes on. Every
trained step is written down by the process that trains it, with its evaluation key. In the end every policy is
trained once more, without interruption, in one process, and accuracies and fronts are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import safetensors.torch
from crashing.crashnet import LOG_VARIABLE
from crashing.places import Place, children, postgres_place, sqlite_place
from crashing.plain_ray import plain_ray

from autogate import api
from autogate.latency.hardware import machine_facts
from autogate.latency.profile import read_profile, to_lines
from autogate.models import load_model
from autogate.store import Store
from autogate.studies import pareto_front
from autogate.system import code_version

HERE = Path(__file__).parent
SPACE = "schema: autogate.space/1\nsites:\n  block:\n    - family: drop\n    - family: mod\n      genes: {c: [4, 8]}\n"
STUDY = "crash"
FINALISTS = 2
_LONGEST_S = 900.0


def main() -> None:
    """Run all kills and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--plain-kills", type=int, default=6, help="kills of plain Ray with OptunaSearch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=20, help="trials of each study")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "crash.json")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="autogate-crash-work-"))
    _prepare(work)
    rng = random.Random(args.seed)
    shares = {"sqlite": 0.4, "postgres": 0.4, "ray": 0.2}
    results: dict[str, Any] = {}
    for kind, share in shares.items():
        with ExitStack() as stack:
            place = stack.enter_context(
                postgres_place() if kind == "postgres" else sqlite_place(work / f"{kind}-database")
            )
            results[kind] = Victim(kind, place, work, rng, args.trials).suffer(round(args.kills * share))
            _say(f"{kind}: {json.dumps(results[kind])}")
    document = {
        "command": f"python benchmarks/crash.py --kills {args.kills} --seed {args.seed} --trials {args.trials}",
        "machine": machine_facts(),
        "code_version": code_version(),
        "kills": sum(sum(found["kills"].values()) for found in results.values()),
        "kills_in_training": sum(found["kills_in_training"] for found in results.values()),
        "autogate": results,
        "plain_ray_optuna_search": plain_ray(work, args.plain_kills, rng) if args.plain_kills else None,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


def _prepare(work: Path) -> None:
    """Write the space, random weights, and a profile that counts as another device's, so that nothing is measured."""
    sys.path.insert(0, str(HERE / "crashing"))
    os.environ["OMP_NUM_THREADS"] = "1"
    (work / "space.yaml").write_text(SPACE, encoding="utf-8")
    safetensors.torch.save_file(load_model("crashnet:build").module.state_dict(), str(work / "random.safetensors"))
    api.profile(
        "crashnet:build",
        space=str(work / "space.yaml"),
        out=work / "own.jsonl",
        allow_noisy=True,
        time_s=6.0,
        layout="contiguous",
        threads=1,
        batch_size=1,
    )
    taken = read_profile(work / "own.jsonl")
    elsewhere = replace(taken, setting=replace(taken.setting, device_name="a device elsewhere"))
    (work / "foreign.jsonl").write_text(to_lines(elsewhere), encoding="utf-8")


class Victim:
    """One study, and what happens to it.

    Args:
        kind: ``sqlite``, ``postgres`` or ``ray``.
        place: Where its database is.
        work: Folder of everything else.
        rng: Decides when and how to kill.
        trials: Trials it is asked for.
    """

    def __init__(self, kind: str, place: Place, work: Path, rng: random.Random, trials: int) -> None:
        self.kind, self.place, self.work, self.rng, self.trials = kind, place, work, rng, trials
        self.log = work / f"{kind}.log"
        self.log.touch()
        self.kills: Counter[str] = Counter()
        self.in_training = 0
        self.committed: set[tuple[Any, ...]] = set()
        self.lost = 0
        self.begun_again: set[str] = set()
        self.seen_bytes = 0
        self.endings: Counter[str] = Counter()

    def suffer(self, kills: int) -> dict[str, Any]:
        """Kill it ``kills`` times, let it end, and return what was found."""
        started_s = time.monotonic()
        process = self._start(first=True)
        for _ in range(kills):
            process = self._kill(process)
        while process.wait(_LONGEST_S) != 0:
            self._count_ending(process)
            process = self._start(first=False)
        self._look()
        return self._findings(time.monotonic() - started_s)

    def _kill(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Wait until it trains, for a while longer, and strike; return the process that drives the study then."""
        time.sleep(1.5)  # what the last one left running has stopped by now
        if not self._wait_for_training(process):
            self._count_ending(process)  # it has ended by itself, well or badly
            process = self._start(first=False, further=process.returncode == 0)
            self._wait_for_training(process)
        time.sleep(self.rng.uniform(0.0, 1.5))
        how = self.rng.choice([*self._ways()])
        self.in_training += self._is_training()
        self.kills[how] += 1
        self._ways()[how](process)
        self._look()
        if how in ("worker", "ray worker", "postgres restarted", "disk full"):
            time.sleep(0.5)
            if process.poll() is None:
                return process
        process.wait(60)
        self._count_ending(process)
        time.sleep(0.2)
        return self._start(first=False)

    def _ways(self) -> dict[str, Callable[[subprocess.Popen[bytes]], None]]:
        ways: dict[str, Callable[[subprocess.Popen[bytes]], None]] = {
            "driver": lambda process: process.kill(),
            "driver and workers": self._kill_all,
            "terminated": lambda process: process.send_signal(signal.SIGTERM),
        }
        if self.kind == "ray":
            return {**ways, "ray worker": self._kill_worker}
        ways["worker"] = self._kill_worker
        if self.place.server is not None:
            ways["postgres restarted"] = lambda process: self.place.restart_server()
        if self.place.disk is not None:
            ways["disk full"] = lambda process: self.place.fill_disk(3.0)
        return ways

    def _kill_worker(self, process: subprocess.Popen[bytes]) -> None:
        found = children(process.pid, " worker ", "ray::")
        if found:
            self.rng.choice(found).kill()

    def _kill_all(self, process: subprocess.Popen[bytes]) -> None:
        below = children(process.pid, "")
        process.kill()
        for one in below:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue

    def _start(self, *, first: bool, further: bool = False) -> subprocess.Popen[bytes]:
        executor = ["--backend", "ray", "--workers", "2"] if self.kind == "ray" else ["--workers", "2"]
        if first:
            arguments = [
                "search",
                "--latency-budget",
                "10s",
                "--study",
                STUDY,
                "--trials",
                str(self.trials),
                "--model",
                "crashnet:build",
                "--data",
                "crashnet:digits",
                "--weights",
                "random.safetensors",
                "--space",
                "space.yaml",
                "--profile",
                "foreign.jsonl",
                "--layout",
                "contiguous",
                "--threads",
                "1",
                "--epochs",
                "8",
                "--trial-epochs",
                "8",
                "--finalists",
                str(FINALISTS),
                "--seed",
                "1",
                *executor,
            ]
        elif STUDY not in _studies(self.place.url):
            return self._start(first=True)
        else:
            arguments = ["resume", STUDY, *executor]
            if further:
                self.trials += 8
                arguments += ["--trials", "8"]
        environment = {
            **os.environ,
            "AUTOGATE_STORAGE": self.place.url,
            "PYTHONPATH": os.pathsep.join(sys.path),
            LOG_VARIABLE: str(self.log),
            "AUTOGATE_LEASE_S": "5",
            "AUTOGATE_CHECKPOINT_S": "0.5",
            "RAY_DEDUP_LOGS": "0",
        }
        errors = (self.work / f"{self.kind}.err").open("ab")
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "autogate.cli.main", *arguments],
            cwd=self.work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )

    def _count_ending(self, process: subprocess.Popen[bytes]) -> None:
        self.endings[str(process.returncode)] += 1

    def _wait_for_training(self, process: subprocess.Popen[bytes]) -> bool:
        end_s = time.monotonic() + _LONGEST_S
        while time.monotonic() < end_s:
            if self._is_training():
                return True
            if process.poll() is not None:
                return False
            time.sleep(0.05)
        raise RuntimeError(f"the {self.kind} study does not train; see {self.work}")

    def _is_training(self) -> bool:
        """Whether a step was trained in the last second."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 300))
            lines = file.read().decode().splitlines()
        return bool(lines) and " step " in lines[-1] and time.time() - float(lines[-1].split()[0]) < 1.0

    def _look(self) -> None:
        """Compare the database with what it held at the last look, and what was begun since."""
        known = {f"{policy}/{fidelity}/{recipe}" for policy, fidelity, recipe, _ in self.committed}
        with self.log.open("rb") as file:
            file.seek(self.seen_bytes)
            for line in file:
                _, what, key, *_ = line.decode().split()
                if what == "begin" and key in known:
                    self.begun_again.add(key)
            self.seen_bytes = file.tell()
        now = _evaluations(self.place.url)
        self.lost += len(self.committed - now)
        self.committed |= now

    def _findings(self, seconds: float) -> dict[str, Any]:
        store = Store(self.place.url)
        counts = store.count_trials(STUDY)
        states = Counter(trial.state.name for trial in _optuna_trials(self.place.url))
        trained, needed, interrupted = count_steps(self.log)
        differing, same_front = _against_uninterrupted(store, self.work)
        return {
            "kills": dict(self.kills),
            "kills_in_training": self.in_training,
            "endings_of_the_driver": dict(self.endings),
            "trials_asked": self.trials,
            "trials": counts,
            "evaluations": len(self.committed),
            "evaluations_lost": self.lost,
            "evaluations_begun_after_they_were_stored": len(self.begun_again),
            "trainings_interrupted": interrupted,
            "steps_trained": trained,
            "steps_needed_without_interruption": needed,
            "left_running": states["RUNNING"] + states["WAITING"],
            "jobs_left": len(store.jobs(STUDY)),
            "checkpoints_left": sum(store.artifact_kind(sha256) == "checkpoint" for sha256 in store.artifacts()),
            "accuracies_unlike_uninterrupted": differing,
            "same_front_as_uninterrupted": same_front,
            "seconds": round(seconds, 1),
        }


def count_steps(log: Path) -> tuple[int, int, int]:
    """Return the steps that were trained, those that uninterrupted trainings need, and how many were interrupted.

    A training that was interrupted needs what most of the others of its kind took.
    """
    steps, begins = Counter[str](), Counter[str]()
    for line in log.read_text(encoding="utf-8").splitlines():
        _, what, key, *_ = line.split()
        steps[key] += what == "step"
        begins[key] += what == "begin"
    needed = 0
    for key, count in steps.items():
        alike = [steps[k] for k in steps if begins[k] == 1 and k.split("/")[1] == key.split("/")[1]]
        needed += count if begins[key] == 1 or not alike else Counter(alike).most_common(1)[0][0]
    return sum(steps.values()), needed, sum(begins.values()) - len(begins)


def _against_uninterrupted(store: Store, work: Path) -> tuple[int, bool]:
    """Train every policy once more in one process; return how many accuracies differ, and if the fronts agree."""
    script = (
        "import json, sys; from crashing.uninterrupted import accuracies; print(json.dumps(accuracies(sys.argv[1])))"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", script, STUDY],
        cwd=work,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "AUTOGATE_STORAGE": store.url, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
    )
    again = json.loads(done.stdout.splitlines()[-1])
    trials = store.trials(STUDY)
    trained = [trial for trial in trials if trial.val_accuracy is not None and trial.policy is not None]
    once_more = [replace(trial, val_accuracy=again[trial.policy.digest]) for trial in trained if trial.policy]
    differing = sum(one.val_accuracy != other.val_accuracy for one, other in zip(trained, once_more, strict=True))
    fronts = [[trial.number for trial in pareto_front(found, "p95")] for found in (trained, once_more)]
    return differing, fronts[0] == fronts[1]


def _studies(url: str) -> list[str]:
    from autogate.store import holds_studies

    return Store(url).study_names() if holds_studies(url) else []


def _evaluations(url: str) -> set[tuple[Any, ...]]:
    import sqlalchemy

    if not _studies(url):
        return set()
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            query = "select policy, fidelity, recipe, val_accuracy from autogate_evaluations"
            return {tuple(row) for row in connection.exec_driver_sql(query)}
    finally:
        engine.dispose()


def _optuna_trials(url: str) -> list[Any]:
    import optuna

    return optuna.load_study(study_name=STUDY, storage=url).get_trials(deepcopy=False)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
