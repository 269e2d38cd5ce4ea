"""What dense networks take in every runtime, and what each gate family saves there.

    python benchmarks/runtimes.py [--networks NAME ...] [--families NAME ...] [--threads N] [--seconds S] [--out FILE]

For each network dense is timed in every runtime at hand, then beside it each family at every place it fits (of blocks,
every second one), one comparison after the other, with random weights, at batch 1. What the result file has already is
kept: the run goes on from there. A table goes beside it as Markdown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from gate_speed import everywhere
from granularity import everywhere as in_groups
from granularity import executors, reads_files

from autogate.errors import AutoGateError
from autogate.gates import FAMILIES
from autogate.goals import make_config
from autogate.latency.hardware import machine_facts, setting_of
from autogate.latency.profile import fastest_layout
from autogate.latency.timing import compare
from autogate.models import load_model
from autogate.nas.profiles import settled_runtime
from autogate.policy import DENSE, Gate, Policy
from autogate.resources import policy_varies
from autogate.runtimes import RUNTIMES, get_runtime
from autogate.sites import Network, find_sites
from autogate.space import load_space
from autogate.studies import Reporter
from autogate.surgery import attach_gates, canonical, compact_form
from autogate.system import one_line

SIZES = {
    "resnet20": 32,
    "resnet56": 32,
    "resnet18": 224,
    "resnet50": 224,
    "mobilenet_v2": 224,
    "vgg16_bn": 224,
    "efficientnet_b0": 224,
    "densenet121": 224,
}
CPU = torch.device("cpu")


def main() -> None:
    """Measure what is not in the result file yet, and write it after each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=4.0, help="longest time of a comparison")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "runtimes.json")
    asked = parser.parse_args()
    result: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {"networks": {}}
    result["machine"] = machine_facts()
    result["threads"] = asked.threads
    for name in asked.networks:
        network = find_sites(load_model(name).module, (3, SIZES[name], SIZES[name]))
        entry = result["networks"].setdefault(name, {"families": {}})
        if "dense" not in entry:
            config = make_config(model=name, space=load_space("unified").to_json(), pareto=True, threads=asked.threads)
            _, times = settled_runtime(config, network, CPU, Reporter())
            entry["dense"] = {one.runtime: one.dense_ms for one in times if one.dense_ms is not None}
            _write(asked.out, result)
        for family in asked.families:
            for runtime in entry["dense"]:
                of_family = entry["families"].setdefault(family, {})
                if runtime not in of_family:
                    of_family[runtime] = _ratio(network, family, runtime, asked.threads, asked.seconds)
                    _write(asked.out, result)
                    print(name, family, runtime, of_family[runtime], flush=True)


def _ratio(network: Network, family: str, runtime: str, threads: int, seconds: float) -> dict[str, Any]:
    """Return gated over dense where a family stands at every place, or why it cannot."""
    try:
        policy = _places(network, family)
        reasons = (get_runtime(runtime).no_saving_reason(gate, network.sites[site], 1) for site, gate in policy)
        if (reason := next((reason for reason in reasons if reason is not None), None)) is not None:
            return {"reason": reason}

        def setting_for(layout: str) -> Any:
            return setting_of(CPU, batch_size=1, layout=layout, threads=threads, runtime=runtime)

        setting = setting_for(fastest_layout(network, setting_for))
        dense = compact_form(network, DENSE, {})
        plan = executors(network, policy) if reads_files(runtime) else {}
        gated = compact_form(network, policy, attach_gates(network, policy), plan=plan)
        images = list(torch.randn(8, 1, *network.input_shape, generator=torch.Generator().manual_seed(0)))
        varies = policy_varies(policy)
        found = compare(dense, gated, images, setting, varies=varies, stat="p50", seconds=seconds)
    except (AutoGateError, AssertionError) as error:
        return {"reason": one_line(error)}
    return {"ratio": found.ratio, "interval": list(found.ratio_interval), "dense_ms": found.dense.p50}


def _places(network: Network, family: str) -> Policy:
    policy = in_groups(network, family, 8) if family == "antidote" else everywhere(network, family)
    if family == "lcnet":  # a threshold in the middle of the scores that gates begin with
        policy = Policy({site: Gate(family, {"tau": 0.9}) for site in policy.gates})
    blocks = [site for site in policy.gates if network.sites[site].kind == "block"]
    kept = {site: gate for site, gate in policy if site not in blocks[1::2]}
    if any(site in kept for site in blocks):  # a family of blocks and maps is shown at blocks
        kept = {site: gate for site, gate in kept.items() if site in blocks}
    return canonical(Policy(kept), network.sites)


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    runtimes = [name for name, runtime in RUNTIMES.items() if runtime.profiles_networks]
    lines = [
        f"# Dense and gated in each runtime: {result['machine']['cpu']}, batch 1, {result['threads']} threads",
        "",
        "Milliseconds of dense, and its share of eager; below, gated over dense in the same runtime with a family at",
        "every place it fits (of blocks, every second one), random weights, 95 % interval. `antidote` leaves out 60 %",
        "of the channels in groups of eight, and the threshold of `lcnet` shuts blocks for about half of the images.",
        "Made by `python benchmarks/runtimes.py`.",
        "",
        "| network | " + " | ".join(runtimes) + " |",
        "|---|" + "---|" * len(runtimes),
    ]
    for name, entry in result["networks"].items():
        dense = entry.get("dense", {})
        cells = [f"{dense[r]:.2f} ({dense[r] / dense['eager']:.2f})" if r in dense else "–" for r in runtimes]
        lines.append(f"| **{name}**, ms | " + " | ".join(cells) + " |")
        for family, found in entry["families"].items():
            lines.append(f"| {family} | " + " | ".join(_cell(found.get(runtime)) for runtime in runtimes) + " |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or "ratio" not in found:
        return "–"
    low, high = found["interval"]
    return f"{found['ratio']:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
