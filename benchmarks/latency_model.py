"""How well latencies of gated networks are predicted: profiles taken and validated on networks never seen.

    python benchmarks/latency_model.py [--device cuda:0] [--only NETWORK ...] [--batch-size N ...] [--time 5m]

For each network and batch size: a profile, then held-out networks from the lightest to dense, measured twice, beside
simpler predictors given the same measurements. ``--ridge`` adds a ridge regression over the gates of 300 further
networks, with what measuring them costs. Run it on a quiet machine; what is done is kept and not done again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge

import autogate
from autogate.latency import LatencyModel, read_profile
from autogate.latency.machine import machine_facts
from autogate.latency.validation import measure_held_out, plan_held_out, score
from autogate.models import load_model
from autogate.policy import Policy
from autogate.search.config import make_config
from autogate.search.profiles import searched_space
from autogate.search.proposals import paying
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.units import parse_duration

NETWORKS = ("resnet20", "resnet56", "resnet18", "resnet50", "vgg16_bn", "mobilenet_v2")
BATCHES = {"cpu": (1, 8), "cuda": (1, 8, 64, 256)}
HELD_OUT = 60
HELD_OUT_SECONDS = 120.0
RIDGE_NETWORKS = 300


def main() -> None:
    """Profile and validate what is asked for, and merge it into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch-size", nargs="+", type=int)
    parser.add_argument("--time", default="5m", help="time for each profile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ridge", action="store_true")
    parser.add_argument("--again", action="store_true", help="do again what is done")
    args = parser.parse_args()
    kind = torch.device(args.device).type
    out = Path(__file__).parent / "results" / f"latency_model_{kind}.json"
    results: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    results["machine"] = machine_facts()
    for network in args.only:
        for batch_size in args.batch_size or BATCHES[kind]:
            name = f"{network}, batch {batch_size}"
            if args.again or name not in results:
                results[name] = validated(network, batch_size, args)
                out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(name, line(results[name]), flush=True)


def validated(network: str, batch_size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Profile a network, and score the profile."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile.jsonl"
        start = time.monotonic()
        autogate.profile(
            network, out=profile, seconds=parse_duration(args.time), device=args.device, batch_size=batch_size
        )
        taken_s = time.monotonic() - start
        document = autogate.validate_profile(
            str(profile), networks=HELD_OUT, seconds=HELD_OUT_SECONDS, seed=args.seed
        )  # fmt: skip
        if args.ridge:
            document["ridge"] = ridge(network, profile, document, args.seed)
    document["profile_seconds"] = round(taken_s)
    return document


def ridge(network: str, profile: Path, document: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the scores of a ridge regression over one-hot gates, and the seconds its measurements take."""
    taken = read_profile(profile)
    traced = find_sites(load_model(network).module, taken.input_shape)
    model = LatencyModel(taken, traced)
    config = make_config(model=network, space=load_space("unified").to_json(), pareto=True)
    space, _ = paying(searched_space(config, traced), model, taken.setting.batch_size)
    planned = plan_held_out(model, space, RIDGE_NETWORKS, seed + 1000)
    start = time.monotonic()
    found = measure_held_out(traced, planned, taken.setting, seconds=2 * HELD_OUT_SECONDS, seed=seed)
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
    return (
        f"MAPE {model['mape']:.1%} (again {retest['mape']:.1%}), over dense {relative['model']['mape']:.1%} "
        f"({relative['retest']['mape']:.1%}), Spearman {model['spearman']:.3f} ({retest['spearman']:.3f})"
    )


if __name__ == "__main__":
    main()
