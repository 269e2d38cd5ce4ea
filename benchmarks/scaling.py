"""What a trial costs besides its training, in long studies and with many workers; nothing is trained.

    python benchmarks/scaling.py long [--trials 10000] [--sampler random]   # overhead per trial on SQLite, 30 decisions
    python benchmarks/scaling.py optuna [--trials 60]       # beside plain Optuna with 54 decisions, both databases
    python benchmarks/scaling.py workers [--workers 8]      # speed-up on PostgreSQL at 1 s per answer

Answers come from a replayed study (``autogate replay``). Its accuracies are drawn, since only time is measured here.
Each part is written to ``benchmarks/results/scaling-PART.json``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from crashing.places import postgres_place
from sqlalchemy import select

from autogate import api
from autogate.analysis import add_replay, replay_driver
from autogate.goals import SearchConfig, make_config
from autogate.latency.hardware import machine_facts
from autogate.latency.model import VERSION, LatencyModel
from autogate.latency.profile import profile_digest
from autogate.models import load_model
from autogate.nas.loop import Driver
from autogate.nas.profiles import searched_space
from autogate.nas.proposing import paying_gates
from autogate.records import ChoiceLoss, StudyFacts, TargetFacts, TaskFacts, TrialRecord
from autogate.resources import predicted_statistics
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.store import Store, open_storage, tables
from autogate.studies import Reporter
from autogate.surgery import canonical
from autogate.system import code_version

HERE = Path(__file__).parent
_SOURCE = "recorded"
_RECORDED = 60


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("long", "optuna", "workers"))
    parser.add_argument("--trials", type=int)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--sampler", default="random", help="of the long study; tpe comes with proposals of our own")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        if args.part == "long":
            found = long_study(f"sqlite:///{folder}/long.db", args.trials or 10_000, args.sampler)
        elif args.part == "optuna":
            found = beside_optuna(folder, args.trials or 60)
        else:
            found = many_workers(args.workers, args.trials or 12 * args.workers)
    document = {
        "command": " ".join(["python", "benchmarks/scaling.py", *sys.argv[1:]]),
        "machine": machine_facts(),
        "code_version": code_version(),
        **found,
    }
    name = f"{args.part}-{args.sampler}" if args.part == "long" else args.part
    out = HERE / "results" / f"scaling-{name}.json"
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


def record(url: str, model: str, **goal: Any) -> SearchConfig:
    """Store a study of ``model`` as if it had been searched: a profile, and candidates with drawn accuracies."""
    store = Store(url, create=True)
    api.profile(model, storage=url, batch_size=1, threads=1, layout="contiguous", allow_noisy=True, time_s=8.0)
    profile = store.profiles(model)[0]
    network = find_sites(load_model(model).module, profile.input_shape)
    latency = LatencyModel(profile, network)
    config = make_config(
        model=model, space=load_space("unified").to_json(), threads=1, layout="contiguous", seed=0, **goal
    )
    space, _ = paying_gates(searched_space(config, network), latency)
    rng = random.Random(0)
    sensitivity = [
        ChoiceLoss(decision.name, choice, rng.uniform(0.01, 0.5))
        for decision in space.decisions
        for choice in decision.choices
        if choice != "dense"
    ]
    store.create_study(
        _SOURCE,
        config,
        StudyFacts(
            TaskFacts("0" * 16, class_names=tuple(str(i) for i in range(10))),
            TargetFacts(profile_digest(profile), VERSION, False, profile.setting, latency.dense_ms, slowdown=1.0),
            sensitivity=tuple(sensitivity),
        ),
    )
    for number in range(_RECORDED):
        policy = canonical(space.policy(space.draw(lambda _, choices: rng.choice(choices))), network.sites)
        accuracy = 0.9 - 0.3 * rng.random() * len(policy.gates) / len(network.sites)
        estimate = predicted_statistics(latency.predict(policy), config.latency_stat)
        store.add_trial(_SOURCE, TrialRecord(number, "complete", policy, accuracy, estimate, None, None, 1.0))
    return config


class Stopwatch:
    """Drives a replay and times every trial: in all, finding the candidate as a part of it, and the sampler alone."""

    def __init__(self, store: Store, name: str, **changes: Any) -> None:
        config = add_replay(store, _SOURCE, name, **changes)
        self.driver: Driver = replay_driver(store, name, config, Reporter())
        self.total_s: list[float] = []
        self.proposing_s: list[float] = []
        self.sampler_s: list[float] = []
        self.answered: list[bool] = []

    def one(self) -> None:
        """Propose a candidate, answer it as a worker would, and take the answer in."""
        driver = self.driver
        before = driver.candidates.seconds, driver.sampler.seconds
        start = time.perf_counter()
        trial = driver.propose()
        if trial is not None:
            job = driver.store.take_job(driver.name, "benchmark", None)
            assert job is not None
            evaluation, _ = driver.evaluator.evaluate(job.policy, "short", Reporter())
            driver.store.finish_job(job, evaluation)
            driver.collect()
        self.total_s.append(time.perf_counter() - start)
        self.answered.append(trial is not None)
        self.proposing_s.append(driver.candidates.seconds - before[0])
        self.sampler_s.append(driver.sampler.seconds - before[1])

    def figures(self, part: slice) -> dict[str, Any]:
        """Return what part of the trials took, in milliseconds: those that were answered, and those only rejected."""
        rows = list(zip(self.total_s[part], self.proposing_s[part], self.sampler_s[part], strict=True))
        found: dict[str, Any] = {}
        for kind in (True, False):
            of_kind = [row for row, answered in zip(rows, self.answered[part], strict=True) if answered is kind]
            if len(of_kind) > 1:
                found["answered" if kind else "rejected"] = {
                    "trials": len(of_kind),
                    "outside_proposing_ms": _spread([total - proposing for total, proposing, _ in of_kind]),
                    "proposing_ms": _spread([proposing for _, proposing, _ in of_kind]),
                    "sampler_ms": _spread([sampler for _, _, sampler in of_kind]),
                }
        return found


def long_study(url: str, trials: int, sampler: str) -> dict[str, Any]:
    """Return the overhead per trial near the hundredth and near the last trial of one study."""
    record(url, "resnet32", latency_budget="60%")
    store = Store(url)
    watch = Stopwatch(store, "long", trials=trials, sampler=sampler)
    for number in range(trials):
        watch.one()
        if number % 500 == 499:
            print(number + 1, json.dumps(watch.figures(slice(-500, None))), file=sys.stderr, flush=True)
    early, late = watch.figures(slice(0, 200)), watch.figures(slice(-200, None))
    return {
        "database": "sqlite",
        "sampler": sampler,
        "decisions": len(watch.driver.proposer.space.all_choices()),
        "trials": store.count_trials("long"),
        "near_trial_100": early,
        f"near_trial_{trials}": late,
        "late_over_early": {
            kind: late[kind]["outside_proposing_ms"]["median"] / early[kind]["outside_proposing_ms"]["median"]
            for kind in early.keys() & late.keys()
        },
    }


def beside_optuna(folder: str, trials: int) -> dict[str, Any]:
    """Return our overhead per trial beside plain Optuna's, which suggests value by value; interleaved."""
    found: dict[str, Any] = {}
    with postgres_place() as place:
        for kind, url in {"sqlite": f"sqlite:///{folder}/optuna.db", "postgres": place.url}.items():
            record(url, "resnet56", latency_budget="60%")
            store = Store(url)
            watch = Stopwatch(store, "ours", trials=trials)
            choices = watch.driver.log.distributions
            plain = optuna.create_study(
                storage=open_storage(store),
                study_name="plain",
                directions=watch.driver.objective.directions,
                sampler=optuna.samplers.RandomSampler(seed=0),
            )
            suggested, told, added = [], [], []
            for _ in range(trials):
                watch.one()
                start = time.perf_counter()
                trial = plain.ask()
                for name, distribution in choices.items():
                    trial.suggest_categorical(name, distribution.choices)  # type: ignore[attr-defined]
                suggested.append(time.perf_counter() - start)
                trial.set_constraint("latency_ms", -1.0)
                plain.tell(trial, 0.5)
                told.append(time.perf_counter() - start)
                whole = optuna.trial.create_trial(params=trial.params, distributions=dict(choices), value=0.5)
                start = time.perf_counter()
                plain.add_trial(whole)
                added.append(time.perf_counter() - start)
            ours = [t - p for t, p in zip(watch.total_s, watch.proposing_s, strict=True)]
            found[kind] = {
                "decisions": len(choices),
                "trials": trials,
                "ours_outside_proposing_ms": _spread(ours),
                "ours_in_all_ms": _spread(watch.total_s),
                "optuna_suggesting_ms": _spread(suggested),
                "optuna_suggesting_and_telling_ms": _spread(told),
                "optuna_add_trial_ms": _spread(added),
                "ratio_to_suggesting": statistics.median(o / s for o, s in zip(ours, suggested, strict=True)),
            }
    return found


def many_workers(workers: int, trials: int) -> dict[str, Any]:
    """Return how many times faster several workers answer than one, at a second per answer, on PostgreSQL."""
    found: dict[str, Any] = {}
    for sampler in ("random", "tpe"):
        rates = {}
        for count in (1, workers):
            wanted = trials if count > 1 else max(16, trials // 4)
            # Each has a database of its own: what one of them was answered the others need not wait for.
            with postgres_place() as place:
                record(place.url, "resnet32", pareto=True)
                api.replay(
                    _SOURCE,
                    name=sampler,
                    trials=wanted,
                    sampler=sampler,
                    seed=0,
                    workers=count,
                    delay_s=1.0,
                    storage=place.url,
                )
                rates[count] = _rate(Store(place.url), sampler, count)
        found[sampler] = {
            "answers_per_second": rates,
            "speed_up": rates[workers] / rates[1],
            "workers": workers,
            "trials": trials,
        }
    return found


def _rate(store: Store, name: str, workers: int) -> float:
    """Answers per second from when all workers are at work to before the last of them run out of it."""
    t = tables.Trial
    with store.session() as session:
        ended = session.scalars(
            select(t.finished_utc).where(t.study == name, t.outcome == "complete").order_by(t.finished_utc)
        ).all()
    times = [datetime.datetime.fromisoformat(str(text)).timestamp() for text in ended]
    part = times[2 * workers : len(times) - workers + 1]
    return (len(part) - 1) / (part[-1] - part[0])


def _spread(seconds: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"median": middle * 1e3, "low_quartile": low * 1e3, "high_quartile": high * 1e3}


if __name__ == "__main__":
    main()
