"""How well latencies of gated networks are predicted: profiles taken and validated on networks never seen.

    python benchmarks/latency_model.py [--only NETWORK ...] [--batch-size N ...] [--time 5m]
    python benchmarks/latency_model.py --device cuda:0 [--runtime cuda_graph] ...
    python benchmarks/latency_model.py --runtime onnxruntime|openvino [--dtype int8] ...

For each network and batch size: a profile, then held-out networks from the lightest to dense, measured twice, beside
simpler predictors given the same measurements; then, where units are timed by marks, the times of single units with
gates in them, in other networks.
``--ridge`` adds a ridge regression over the gates of 300 networks, with what measuring them costs.
``--transfer THREADS`` carries each profile over to so many threads, as to another device, with 20 networks measured
there, and validates that.
Run it on a quiet machine; what is done is kept and not done again. ``--keep FOLDER`` keeps the profiles;
profiles that are there are not taken again. Each row of the result file has the ``command`` that made it and the facts
of the ``machine`` at that moment; the ``machine`` of the whole file is that of rows without.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge

import autogate
from autogate.gates import get_family
from autogate.goals import make_config
from autogate.latency.hardware import machine_facts
from autogate.latency.model import LatencyModel, ManyPredictor
from autogate.latency.profile import PlannedNetwork, read_profile, time_networks
from autogate.latency.validation import coverage, measure_held_out, plan_held_out, score, unit_errors
from autogate.models import load_model
from autogate.nas.profiles import searched_space
from autogate.nas.proposing import paying_gates
from autogate.policy import Gate, Policy
from autogate.records import Realisation, UnitSample
from autogate.runtimes import get_runtime
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.space.bound import BoundSpace
from autogate.units import parse_duration

NETWORKS = ("resnet20", "resnet56", "resnet18", "resnet50", "vgg16_bn", "mobilenet_v2")
BATCHES = {"cpu": (1, 8), "cuda": (1, 8, 64, 256)}
RIDGE_NETWORKS = 300
UNIT_NETWORKS = 12
MANY = 20_000
REPLAYED = 60
INPUTS = 500
TRANSFER_KEYS = ("model", "retest", "retest_corrected", "relative", "floor", "floor_corrected")


def main() -> None:
    """Profile and validate what is asked for, and merge it into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch-size", nargs="+", type=int)
    parser.add_argument("--threads", type=int, help="CPU threads [default: all cores]")
    parser.add_argument("--runtime", choices=("eager", "cuda_graph", "onnxruntime", "openvino"), default="eager")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--time", default="5m", help="time for each profile")
    parser.add_argument("--held-out-time", default="2m", help="time for measuring the held-out networks")
    parser.add_argument("--networks", type=int, default=60, help="held-out networks")
    parser.add_argument("--transfer", type=int, metavar="THREADS")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ridge", action="store_true")
    parser.add_argument("--again", action="store_true", help="do again what is done")
    parser.add_argument("--units", action="store_true", help="of what is done and kept, measure single units again")
    args = parser.parse_args()
    kind = torch.device(args.device).type
    by_marks = not get_runtime(args.runtime).isolated
    out = Path(__file__).parent / "results" / f"latency_model_{kind if by_marks else args.runtime}.json"
    results: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    for network in args.only:
        for batch_size in args.batch_size or BATCHES[kind]:
            name = f"{network}, batch {batch_size}" + (", CUDA graph" if args.runtime == "cuda_graph" else "")
            name += "" if args.dtype == "float32" else f", {args.dtype}"
            if args.units and args.keep:
                made = made_by(args.keep)
                found = units_with_gates(
                    network,
                    kept(args, network, batch_size),
                    parse_duration(args.held_out_time) / 2,
                    args.seed,
                    keep=True,
                )
                results[name]["units_with_gates"] = {**made, **found}
                out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            elif args.again or name not in results:
                results[name] = {**made_by(args.keep), **validated(network, batch_size, args)}
                results["pooled"] = pooled(results)
                out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(name, line(results[name]), flush=True)
    print("pooled", results["pooled"])


def made_by(keep: Path | None) -> dict[str, Any]:
    """Return what is about to make a row: the command, with the bare name of the folder ``keep``, and the machine."""
    words = [word if keep is None else word.replace(str(keep), keep.name) for word in sys.argv[1:]]
    return {"command": shlex.join(["python", "benchmarks/latency_model.py", *words]), "machine": machine_facts()}


def validated(network: str, batch_size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Profile a network, and score the profile."""
    with tempfile.TemporaryDirectory() as folder:
        profile = kept(args, network, batch_size) if args.keep else Path(folder) / "profile.jsonl"
        held_out_s = parse_duration(args.held_out_time)
        if not profile.exists():
            autogate.profile(
                network,
                out=profile,
                time_s=parse_duration(args.time),
                device=args.device,
                batch_size=batch_size,
                threads=args.threads,
                runtime=args.runtime,
                dtype=args.dtype,
            )
        document = autogate.validate_profile(
            str(profile), networks=args.networks, time_s=held_out_s, seed=args.seed
        ).to_json()
        taken_s = round(read_profile(profile).method["seconds"])
        document["per_second"] = speed(network, profile, args.seed)
        if not get_runtime(args.runtime).isolated:
            document["units_with_gates"] = units_with_gates(
                network, profile, held_out_s / 2, args.seed, keep=args.keep is not None
            )
        if args.transfer:
            document["transfer"] = transferred(network, profile, held_out_s, args)
        if args.ridge:
            document["ridge"] = ridge(network, profile, document, 2 * held_out_s, args.seed)
        if args.keep:
            (args.keep / f"{profile.stem}.held-out.json").write_text(json.dumps(document) + "\n")
    for point in document["points"]:
        del point["policy"], point["decisions"]
    document["profile_seconds"] = taken_s
    return document


def kept(args: argparse.Namespace, network: str, batch_size: int) -> Path:
    """Return the file that keeps a profile."""
    folder: Path = args.keep
    dtype = "" if args.dtype == "float32" else f"-{args.dtype}"
    return folder / f"{network}-batch{batch_size}-{args.runtime}{dtype}.jsonl"


def model_and_space(network: str, profile: Path) -> tuple[LatencyModel, BoundSpace]:
    """Return the latency model of a profile, and the gates that can pay there."""
    taken = read_profile(profile)
    traced = find_sites(load_model(network).module, taken.input_shape)
    model = LatencyModel(taken, traced)
    space = load_space("unified").to_json()
    setting = taken.setting
    config = make_config(
        model=network,
        space=space,
        pareto=True,
        batch_size=setting.batch_size,
        runtime=setting.runtime,
        dtype=setting.dtype,
    )
    return model, paying_gates(searched_space(config, traced), model)[0]


def units_with_gates(network: str, profile: Path, seconds: float, seed: int, *, keep: bool = False) -> dict[str, Any]:
    """Return the errors of single units with gates in them, in networks never seen.

    A second measurement of them is made in a process of its own, as a profile is.
    """
    model, space = model_and_space(network, profile)
    planned = plan_held_out(model, space, UNIT_NETWORKS, seed + 2000)
    first = unit_samples(model, planned, seconds / 2, 0)
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        second = other.submit(unit_samples_there, network, profile, seconds / 2, seed).result()
    if keep:
        document = {
            "policies": [{**vars(one), "policy": one.policy.to_json()} for one in planned],
            "units": [[asdict(sample) for sample in half] for half in (first, second)],
        }
        profile.with_suffix(".units.json").write_text(json.dumps(document, default=dict) + "\n", encoding="utf-8")
    return unit_errors(model, planned, first, second)


def unit_samples(model: LatencyModel, planned: Sequence[PlannedNetwork], seconds: float, seed: int) -> list[UnitSample]:
    """Return the times of all units of ``planned``, one network after the other."""
    return time_networks(
        model.network, model.units, planned, model.profile.setting, seconds=seconds, phase="held out", seed=seed
    ).units


def unit_samples_there(network: str, profile: Path, seconds: float, seed: int) -> list[UnitSample]:
    """Return what :func:`unit_samples` does, in another process: it draws the same networks."""
    model, space = model_and_space(network, profile)
    return unit_samples(model, plan_held_out(model, space, UNIT_NETWORKS, seed + 2000), seconds, 1)


def speed(network: str, profile: Path, seed: int) -> dict[str, float]:
    """Return predictions per second on one core: of many policies at once, first and again, and replayed on inputs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, space = model_and_space(network, profile)
    many, rng = ManyPredictor(model, space), np.random.default_rng(seed)
    found = {}
    for name in ("policies, first", "policies"):
        sizes = [len(decision.options) for decision in space.decisions]
        gated = rng.random((MANY, len(sizes))) < rng.random((MANY, 1))
        choices = rng.integers(0, sizes, (MANY, len(sizes))) * gated
        start = time.monotonic()
        many.predict_ms(choices)
        found[name] = MANY / (time.monotonic() - start)
    varying = [planned for planned in plan_held_out(model, space, REPLAYED, seed) if planned.decisions]
    traced = [
        (
            planned.policy,
            Realisation(
                {
                    site: tuple(map(int, rng.choice(space_steps(model, site, gate), INPUTS)))
                    for site, gate in planned.policy
                    if get_family(gate.family).varies
                }
            ),
        )
        for planned in varying
    ]
    start = time.monotonic()
    for policy, realisation in traced:
        model.predict(policy, realisation)
    if traced:
        found[f"replays on {INPUTS} images"] = len(traced) / (time.monotonic() - start)
    torch.set_num_threads(threads)
    return {name: round(value) for name, value in found.items()}


def space_steps(model: LatencyModel, site: str, gate: Gate) -> list[int]:
    """Return the counts between which a varying gate may decide, for an image alone."""
    steps = get_family(gate.family).decisions(model.network.sites[site], gate, 1)
    return list(range(steps[0] or 0, (steps[-1] or 0) + 1))


def transferred(network: str, profile: Path, held_out_s: float, args: argparse.Namespace) -> dict[str, Any]:
    """Carry a profile over to another number of threads, and score that."""
    setting = read_profile(profile).setting
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "there.jsonl"
        autogate.profile(
            network,
            out=there,
            transfer_from=str(profile),
            device=args.device,
            batch_size=setting.batch_size,
            layout=setting.layout,
            threads=args.transfer,
            runtime=args.runtime,
        )
        document = autogate.validate_profile(
            str(there), networks=args.networks // 2, time_s=held_out_s / 2, seed=args.seed
        ).to_json()
    return {"threads": args.transfer, **{k: document[k] for k in TRANSFER_KEYS}}


def pooled(results: dict[str, Any]) -> dict[str, Any]:
    """Return the coverage of the bound over all networks, with its interval, and what is delivered over budget."""
    done = [found for found in results.values() if "points" in found]
    measured = np.array([p["measured_ms"] for found in done for p in found["points"]])
    upper = np.array([p["upper_ms"] for found in done for p in found["points"]])
    share, interval = coverage(upper, measured)
    return {
        "networks": len(measured),
        "coverage": share,
        "coverage_interval": interval,
        "violations": float(np.mean([found["model"]["violations"] for found in done])),
        "violations_over_3_percent": float(np.mean([found["model"]["violations_over_3_percent"] for found in done])),
    }


def ridge(network: str, profile: Path, document: dict[str, Any], measure_s: float, seed: int) -> dict[str, Any]:
    """Return the scores of a ridge regression over one-hot gates, and the seconds its measurements take."""
    model, space = model_and_space(network, profile)
    taken, traced = model.profile, model.network
    planned = plan_held_out(model, space, RIDGE_NETWORKS, seed + 1000)
    start = time.monotonic()
    found = measure_held_out(traced, planned, taken.setting, seconds=measure_s, seed=seed)
    seconds = time.monotonic() - start
    columns = {pair: i for i, pair in enumerate(space.gates())}

    def features(policy: Policy, decisions: dict[str, int | None]) -> np.ndarray:
        row = np.zeros(len(columns) + 1)
        for site, gate in policy:
            row[columns[(site, gate)]] = 1.0
        row[-1] = sum(kept or 0 for kept in decisions.values())
        return row

    x = np.stack([features(p.policy, dict(p.decisions)) for p in planned])
    fitted = Ridge(alpha=1.0).fit(x, found.first_ms, sample_weight=found.first_ms**-2)
    points = document["points"]
    held_out = np.stack([features(Policy.from_json(p["policy"]), p["decisions"]) for p in points])
    measured = np.array([p["measured_ms"] for p in points])
    return {**asdict(score(fitted.predict(held_out), measured)), "seconds": round(seconds)}


def line(document: dict[str, Any]) -> str:
    """Return the scores that count, in one line."""
    model, retest, relative = document["model"], document["retest"], document["relative"]
    corrected = document.get("floor_corrected")  # none in what was measured before there was one
    drift_out = "" if corrected is None else f", {corrected:.1%} less drift"
    return (
        f"MAPE {model['mape']:.1%} (again {retest['mape']:.1%}{drift_out}), over dense {relative['model']['mape']:.1%} "
        f"({relative['retest']['mape']:.1%}), Spearman {model['spearman']:.3f} ({retest['spearman']:.3f})"
    )


if __name__ == "__main__":
    main()
