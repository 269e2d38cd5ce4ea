"""What choosing channels per input takes, one by one and in groups of neighbours, beside the dense network.

    python benchmarks/granularity.py [--model NAME] [--runtimes NAME ...] [--threads N] [--seconds S]

`antidote` leaves out 60 % of the channels at every map; `lcnet` has a threshold that shuts about half of them, as many
as the result says. Random weights, batch 1. Each gate runs by the executor that its kernel and resolution like best in
runtimes of files, and in PyTorch by the default one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from autogate.gates import FAMILIES, get_family
from autogate.latency.hardware import machine_facts, setting_of
from autogate.latency.timing import compare
from autogate.models import load_model
from autogate.policy import DENSE, Gate, Policy
from autogate.runtimes import get_runtime, no_saving_reason
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form, training_form

CPU = torch.device("cpu")
GENES: dict[str, dict[str, Any]] = {"antidote": {"channel_ratio": 0.6}, "lcnet": {"tau": 0.9}}
GRANULARITIES = (1, 8, 16)
# Groups there are at the least; where that is too much to ask, groups are smaller.
FEWEST_GROUPS = 4
OUT = Path(__file__).parent / "results" / "granularity.json"


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--runtimes", nargs="+", default=["eager", "onnxruntime", "openvino"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    network = find_sites(load_model(asked.model).module, (3, 224, 224))
    result: dict[str, Any] = {"machine": machine_facts(), "model": asked.model, "threads": asked.threads, "rows": []}
    for family in GENES:
        for granularity in GRANULARITIES:
            policy = everywhere(network, family, granularity)
            for runtime in asked.runtimes:
                row = measured(network, policy, runtime, asked.threads, asked.seconds)
                result["rows"].append({"family": family, "granularity": granularity, "runtime": runtime, **row})
                print(result["rows"][-1], flush=True)
                OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def everywhere(network: Network, family: str, granularity: int) -> Policy:
    """Return the policy with the family at every map it fits, in groups of so many channels or fewer."""
    gates = {}
    for name, site in network.sites.items():
        if site.kind == "map" and FAMILIES[family].fits(site):
            step = granularity
            while site.channels % step or site.channels < FEWEST_GROUPS * step:
                step //= 2
            gates[name] = Gate(family, {**GENES[family], "granularity": step})
    return canonical(Policy(gates), network.sites)


def measured(network: Network, policy: Policy, runtime: str, threads: int, seconds: float) -> dict[str, Any]:
    """Return gated over dense, or why the runtime cannot do it."""
    reasons = (no_saving_reason(gate, network.sites[site], 1, runtime) for site, gate in policy)
    if (reason := next((one for one in reasons if one is not None), None)) is not None:
        return {"reason": reason}
    gates = attach_gates(network, policy)
    images = torch.randn(8, *network.input_shape, generator=torch.Generator().manual_seed(0))
    compact = compact_form(network, policy, gates, plan=executors(network, policy) if reads_files(runtime) else {})
    setting = setting_of(CPU, batch_size=1, layout="contiguous", threads=threads, runtime=runtime)
    found = compare(
        compact_form(network, DENSE, {}),
        compact,
        list(images.split(1)),
        setting,
        varies=any(get_family(gate.family).varies for _, gate in policy),
        stat="p50",
        seconds=seconds,
    )
    open_share = _open_share(network, policy, gates, images)
    return {"ratio": found.ratio, "interval": list(found.ratio_interval), "dense_ms": found.dense.p50, **open_share}


def executors(network: Network, policy: Policy) -> dict[str, str]:
    """Return the executor of each gate: rows of weights where there are many of them for few positions."""
    plan = {}
    for site, gate in policy:
        place = network.sites[site]
        transposed = place.consumer.kernel == (1, 1) or place.shape[1] < 14
        if transposed and "transposed" in get_family(gate.family).executors(place, gate, 1):
            plan[site] = "transposed"
    return plan


def reads_files(runtime: str) -> bool:
    """Whether networks run as files, in a process of their own."""
    return get_runtime(runtime).isolated


def _open_share(network: Network, policy: Policy, gates: Any, images: torch.Tensor) -> dict[str, float]:
    """Return the share of channels that gates of varying cost let run."""
    if not any(get_family(gate.family).varies for _, gate in policy):
        return {}
    with torch.no_grad():
        training_form(network, gates).eval()(images)
    ran = sum(float(gates[site].decision.float().mean()) for site, _ in policy)
    return {"open_share": ran / sum(network.sites[site].channels for site, _ in policy)}


if __name__ == "__main__":
    main()
