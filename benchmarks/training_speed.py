"""What keeping freed memory and bfloat16 save of a training step, and what they do to accuracies.

    python benchmarks/training_speed.py steps [--networks NAME ...] [--families NAME ...] [--rounds N]
    python benchmarks/training_speed.py accuracy [--families NAME ...] [--trainings N] [--epochs N]

Steps: a step of each family at every site it fits, and of dense, on random images, in four ways. Each way has a process
of its own, since memory is a process's; the processes take turns, a step each, and one runs at a time.
Accuracy: ResNet-20 on the digits, each family from the same dense weights, trained N times in float32 and N times in
bfloat16, with equal seeds; the difference of the means beside its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gate_speed import everywhere, step_of
from scipy import stats

from autogate.data import ImageData, load_data
from autogate.device_lock import measurement
from autogate.gates import FAMILIES
from autogate.latency.hardware import machine_facts
from autogate.models import load_model
from autogate.policy import DENSE, Policy
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, training_form
from autogate.system import freed_memory_kept
from autogate.training import TrainingBackend, base_recipe, clone, full_recipe, recalibrate, score

# Name, input size and images per step.
NETWORKS = {"resnet20": (32, 128), "mobilenet_v2": (224, 32), "resnet50": (224, 8)}
# Whether freed memory is kept, and whether layers compute in bfloat16; the first is how it was before.
WAYS = {"before": (False, False), "memory": (True, False), "bfloat16": (False, True), "both": (True, True)}
TRAINED = [family for family in FAMILIES if family != "drop"]
CPU = torch.device("cpu")


def main() -> None:
    """Measure what is asked for and merge it into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "accuracy"))
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--families", nargs="+", choices=["dense", *TRAINED], default=["dense", *TRAINED])
    parser.add_argument("--rounds", type=int, default=9, help="steps of each way")
    parser.add_argument("--trainings", type=int, default=10, help="trainings of each way")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "training_speed.json")
    args = parser.parse_args()
    result: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    if args.what == "steps":
        found = {name: steps(name, args.families, args.rounds) for name in args.networks}
    else:
        found = accuracies(args.families, args.trainings, args.epochs)
    facts = {**machine_facts(), "threads": torch.get_num_threads()}
    result[args.what] = {**result.get(args.what, {}), **found}
    result["machines"] = {**result.get("machines", {}), args.what: facts}
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({args.what: found}, indent=1))


def steps(name: str, families: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return, by family, the time of a step before, and of each way over it."""
    found: dict[str, Any] = {}
    for family in families:
        with ExitStack() as stack:
            ways = {way: stack.enter_context(_Stepper(name, family, *how)) for way, how in WAYS.items()}
            times_s: dict[str, list[float]] = {way: [] for way in ways}
            with measurement(CPU):
                for i in range(rounds + 2):
                    for way, stepper in ways.items():
                        seconds = stepper.step()
                        if i >= 2:  # the first steps take memory that later ones find
                            times_s[way].append(seconds)
        before = np.array(times_s["before"])
        found[family] = {
            "batch": NETWORKS[name][1],
            "before_ms": round(1000 * float(np.median(before))),
            **{way: _spread(np.array(times_s[way]) / before) for way in WAYS if way != "before"},
        }
    return found


class _Stepper:
    """A process that makes a training step whenever it is asked to.

    Args:
        name: The network.
        family: The family of its gates, or ``dense``.
        keep: Whether freed memory is kept.
        bfloat16: Whether layers compute in bfloat16.
    """

    def __init__(self, name: str, family: str, keep: bool, bfloat16: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, family, keep, bfloat16), daemon=True)

    def __enter__(self) -> _Stepper:
        self._process.start()
        self._ours.recv()  # it is ready
        return self

    def __exit__(self, *error: object) -> None:
        self._ours.send(False)
        self._process.join()

    def step(self) -> float:
        """Return the seconds of a step."""
        self._ours.send(True)
        seconds: float = self._ours.recv()
        return seconds


def _serve(pipe: Connection, name: str, family: str, keep: bool, bfloat16: bool) -> None:
    torch.manual_seed(0)
    size, batch = NETWORKS[name]
    network = find_sites(load_model(name, num_classes=10).module, (3, size, size))
    run = step_of(network, _policy(network, family), batch, bfloat16=bfloat16)
    with freed_memory_kept() if keep else nullcontext():
        pipe.send(0.0)
        while pipe.recv():
            start = time.perf_counter()
            run()
            pipe.send(time.perf_counter() - start)


def accuracies(families: Sequence[str], trainings: int, epochs: int) -> dict[str, Any]:
    """Return, by family, test accuracies in float32 and in bfloat16, and what the second adds to the first."""
    data = load_data("digits")
    torch.manual_seed(0)
    size = data.preprocessing.input_size
    network = find_sites(load_model("resnet20", num_classes=data.num_classes).module, (3, size, size))
    recipe = base_recipe(len(data.train), None, None)
    TrainingBackend().train(network.model, data.train, recipe, "base", seed=0, device=CPU)
    network.model.eval()
    found = {}
    for family in families:
        seeds = range(trainings)
        by_way = {
            way: [_accuracy(network, family, data, epochs, seed, bfloat16=way == "bfloat16") for seed in seeds]
            for way in ("float32", "bfloat16")
        }
        found[family] = {
            **{way: {"mean": float(np.mean(values)), "values": values} for way, values in by_way.items()},
            "difference": _difference(by_way["float32"], by_way["bfloat16"]),
        }
    return found


def _accuracy(network: Network, family: str, data: ImageData, epochs: int, seed: int, *, bfloat16: bool) -> float:
    copied = clone(network)
    form = training_form(copied, attach_gates(copied, _policy(copied, family)))
    recipe = full_recipe(len(data.train), epochs, None, bfloat16=bfloat16)
    TrainingBackend().train(form, data.train, recipe, "full", seed=seed, device=CPU)
    recalibrate(form, data.train, seed=seed, device=CPU)
    return score(form, data.test, device=CPU)[0]


def _policy(network: Network, family: str) -> Policy:
    return DENSE if family == "dense" else everywhere(network, family)


def _difference(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """Return the mean of ``after - before``, pair by pair, with its 95 % interval."""
    differences = np.array(after) - np.array(before)
    half = 0.0
    if len(differences) > 1:
        half = float(stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences)))
    mean = float(differences.mean())
    return {"mean": round(mean, 5), "low": round(mean - half, 5), "high": round(mean + half, 5)}


def _spread(ratios: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return {"ratio": round(float(median), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


if __name__ == "__main__":
    main()
