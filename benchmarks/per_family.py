"""The best each gate family does alone, and all of them mixed.

ResNet-20 at batch 64: accuracy at 0.75x measured latency, from one search per family with equal numbers of trials.
ResNet-50 at 224x224, batch 1: latency alone, of each family, and of all, at every site that pays, in the lightest form
the space offers, measured beside dense; weights are random, since they do not matter for speed.

    python benchmarks/per_family.py --data FOLDER --weights FILE [--storage URL] [--only resnet20|resnet50]

What the result file holds is not done again, and searches are studies in the database: an interrupted run continues
where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from autogate import api
from autogate.api import terminal_reporter
from autogate.errors import AutoGateError
from autogate.gates import FAMILIES, get_family
from autogate.latency.hardware import resolve_device, setting_of
from autogate.latency.model import LatencyModel
from autogate.latency.profile import fastest_layout, take_profile
from autogate.latency.timing import compare, random_input
from autogate.models import load_model
from autogate.nas.loop import fastest_policy
from autogate.nas.proposing import paying_gates
from autogate.policy import DENSE, Policy
from autogate.resources import policy_varies
from autogate.sites import Network, find_sites
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.surgery import attach_gates, compact_form

TRIALS = 10
BUDGET = "75%"


def main() -> None:
    """Run what is asked for and merge it into the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--storage", default="sqlite:///studies/per_family.db")
    parser.add_argument("--only", choices=("resnet20", "resnet50"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "per_family.json")
    args = parser.parse_args()
    result: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    # The mixed space first: its profile covers every family.
    spaces = ("unified", *FAMILIES)
    for part, measure in (
        ("resnet50_latency", resnet50_latency),
        ("resnet20", lambda space: resnet20_accuracy(space, args.data, args.weights, args.storage)),
    ):
        done = result.setdefault(part, {})
        for space in spaces if (args.only or part) in part else ():
            if space not in done:
                done[space] = measure(space)
                args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def resnet20_accuracy(space: str, data: str, weights: str, storage: str) -> dict[str, Any]:
    """Search with one family, or all, and return the winner, or the reason why there is none."""
    settings: dict[str, Any] = {
        "latency_budget": BUDGET,
        "weights": weights,
        "batch_size": 64,
        "trials": TRIALS,
        "finalists": 1,
        "epochs": 1,
    }
    reporter = terminal_reporter()
    try:
        study = api.search(
            "resnet20", data, space=space, study=f"family-{space}", storage=storage, reporter=reporter, **settings
        )
    except AutoGateError as error:
        return {"best": None, "why": str(error)}
    document = study.document()
    best = document["best"] or document["closest"]
    if best is None:
        why = "no trained candidate was predicted within the budget"
        return {"best": None, "why": why, "left_out": document["left_out"], "trials": document["trials"]}
    return {
        "best": {
            key: best[key] for key in ("test_accuracy", "val_accuracy", "ratio", "ratio_interval", "meets_budget")
        },
        "gates": {site: gate["family"] for site, gate in best["policy"]["gates"].items()},
        "dense_test_accuracy": document["dense"]["test_accuracy"],
        "left_out": document["left_out"],
        "trials": document["trials"],
        "seconds": document["seconds"],
    }


def resnet50_latency(space: str) -> dict[str, Any]:
    """Profile ResNet-50 and measure one family, or all, at all sites where it pays, beside dense."""
    network = find_sites(load_model("resnet50").module, (3, 224, 224))
    device = resolve_device("auto")
    layout = fastest_layout(network, lambda layout: setting_of(device, batch_size=1, layout=layout))
    setting = setting_of(device, batch_size=1, layout=layout)
    bound = bind(load_space(space), network.sites)
    latency = LatencyModel(take_profile(network, bound, setting, model="resnet50", seconds=60), network)
    left, reasons = paying_gates(bound, latency)
    policy = fastest_policy(left, latency)
    row: dict[str, Any] = {
        "setting": setting.to_json(),
        "gates": {site: str(gate) for site, gate in policy},
        "left_out": reasons,
    }
    if not policy.is_dense:
        row |= {
            "predicted_ratio": latency.fastest(policy).p50 / latency.dense_ms,
            "measured": _measure(network, policy, setting),
        }
    return row


def _measure(network: Network, policy: Policy, setting: Any) -> dict[str, Any]:
    """Measure dense beside ``policy``; gates that vary are told to take their lightest decision."""
    from autogate.surgery import script_decisions

    gated = compact_form(network, policy, attach_gates(network, policy))
    fastest = {
        site: get_family(gate.family).decisions(network.sites[site], gate, setting.batch_size)[0]
        for site, gate in policy
    }
    script_decisions(gated, fastest)
    dense = compact_form(network, DENSE, {})
    inputs = [random_input(network.input_shape, setting, seed).float() for seed in range(4)]
    comparison = compare(dense, gated, inputs, setting, varies=False, seconds=30)
    return {
        "ratio": comparison.ratio,
        "ratio_interval": list(comparison.ratio_interval),
        "dense_ms": comparison.dense.p50,
        "gated_ms": comparison.gated.p50,
        "decisions": "lightest" if policy_varies(policy) else "fixed",
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
