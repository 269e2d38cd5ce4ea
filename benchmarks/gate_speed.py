"""What gates cost in training, and what their compact forms really save.

    python benchmarks/gate_speed.py [--only steps|compact|mod] [--networks NAME ...]

Steps: one training step with a family at every site it fits, against a dense step, on ResNet-20, VGG-16 and ResNet-50.
Compact: measured time against the MACs that are left, on ResNet-50 at 224x224, batch 1. Mod: every second block of the
CIFAR ResNets, against the same blocks left out. Weights and images are random; everything is interleaved.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autogate.device_lock import measurement
from autogate.gates import FAMILIES
from autogate.latency.hardware import machine_facts, resolve_device, setting_of
from autogate.latency.profile import fastest_layout
from autogate.latency.timing import compare, random_input
from autogate.models import load_model
from autogate.policy import DENSE, Gate, Policy
from autogate.resources import dense_macs, paper_macs, realisable_macs
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form, training_form
from autogate.training import Recipe, clone, gates_of, loss_of, optimiser_for

STEPS = (("resnet20", 32, 128, 12), ("vgg16_bn_cifar", 32, 128, 5), ("resnet50", 224, 8, 6))
LAYOUTS = ("contiguous", "channels_last")
GENES: dict[str, dict[str, float]] = {
    "antidote": {"channel_ratio": 0.5, "column_ratio": 0.5},
    "magnitude": {"ratio": 0.5},
    "dce": {"ratio": 0.5},
    "gss": {"ratio": 0.5},
    "mod": {"c": 16},
}


def main() -> None:
    """Measure what is asked for and merge it into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[name for name, *_ in STEPS], help="time steps of these only")
    parser.add_argument("--only", choices=("steps", "compact", "mod"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gate_speed.json")
    args = parser.parse_args()
    result: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "steps": lambda: {**result.get("steps", {}), **steps(args.networks)},
        "compact": compact,
        "mod": mod,
    }
    for name, measure in parts.items():
        if args.only in (None, name):
            result[name] = measure()
            if name != "steps":
                result["machines"] = {**result.get("machines", {}), name: _machine()}
            args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            print(json.dumps({name: result[name]}, indent=1))


def steps(networks: Collection[str]) -> dict[str, Any]:
    """Return the time of a training step of each family over that of a dense one, on some of the networks."""
    found: dict[str, Any] = {}
    for name, size, batch, rounds in (entry for entry in STEPS if entry[0] in networks):
        network = find_sites(load_model(name).module, (3, size, size))
        gated = {"dense": DENSE, **{family: everywhere(network, family) for family in FAMILIES if family != "drop"}}
        runs = {family: step_of(network, policy, batch) for family, policy in gated.items()}
        times: dict[str, list[float]] = {family: [] for family in runs}
        with measurement(torch.device("cpu")):
            for i in range(rounds + 1):
                for family, run in runs.items():
                    start = time.perf_counter()
                    run()
                    if i:
                        times[family].append(time.perf_counter() - start)
        ratios = {family: np.array(times[family]) / np.array(times["dense"]) for family in runs if family != "dense"}
        found[name] = {
            "machine": _machine(),
            "dense_ms": round(1000 * float(np.median(times["dense"]))),
            "batch": batch,
            "dce_macs": paper_macs(network, gated["dce"]) / dense_macs(network),
            **{family: _spread(values) for family, values in ratios.items()},
        }
    return found


def everywhere(network: Network, family: str) -> Policy:
    """Return a policy with the family at every map or block it fits."""
    fits = FAMILIES[family].fits
    gates = {
        site.name: Gate(family, GENES.get(family, {}))
        for site in network.sites.values()
        if fits(site) and site.kind != "group"
    }
    assert gates, f"{family} fits nowhere"
    return canonical(Policy(gates), network.sites)


def step_of(network: Network, policy: Policy, batch: int, *, bfloat16: bool = False) -> Callable[[], None]:
    """Return a call that makes one training step, with all gates in the middle of their own procedure."""
    copied = clone(network)
    gates = attach_gates(copied, policy)
    form = training_form(copied, gates).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    parameters = [p for p in form.parameters() if p.requires_grad]
    optimiser = optimiser_for(parameters, Recipe(images=1, lr=0.01), form)
    for group in optimiser.param_groups:
        group["lr"] = 0.01
    for gate in gates.values():
        gate.begin()
    images = torch.randn(batch, *network.input_shape).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    def run() -> None:
        for gate in gates.values():
            gate.set_progress(0.3)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = form(images)
        loss = loss_of(logits, labels, gates_of(form), 0.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for gate in gates.values():
            gate.after_backward()
        optimiser.step()

    return run


def compact() -> dict[str, Any]:
    """Return measured time and realisable MACs, both over dense, on ResNet-50."""
    network = find_sites(load_model("resnet50").module, (3, 224, 224))
    blocks = [site.name for site in network.sites.values() if site.kind == "block"]
    maps = [site.name for site in network.sites.values() if site.kind == "map"]
    groups = [site.name for site in network.sites.values() if site.kind == "group"]
    half = Gate("magnitude", {"ratio": 0.5})
    policies = {
        "magnitude 0.5 at maps": dict.fromkeys(maps, half),
        "magnitude 0.5 at groups": dict.fromkeys(groups, half),
        "magnitude 0.25 at maps and groups": dict.fromkeys(maps + groups, Gate("magnitude", {"ratio": 0.25})),
        "drop at every second block": dict.fromkeys(blocks[::2], Gate("drop")),
        "mod, c = 64, at every second block": dict.fromkeys(blocks[::2], Gate("mod", {"c": 64})),
        "mod, c = 64, at three of four blocks": dict.fromkeys(
            (block for i, block in enumerate(blocks) if i % 4), Gate("mod", {"c": 64})
        ),
        "mod, c = 64, at every block": dict.fromkeys(blocks, Gate("mod", {"c": 64})),
    }
    return {
        name: {layout: _measured(network, Policy(gates), layout) for layout in LAYOUTS}
        for name, gates in policies.items()
    }


def mod() -> dict[str, Any]:
    """Return the speed-up of ``mod`` at every second block, and of leaving the same blocks out."""
    found = {}
    for name in ("resnet18_cifar", "resnet34_cifar", "resnet50_cifar"):
        network = find_sites(load_model(name).module, (3, 32, 32))
        places = [s.name for s in network.sites.values() if s.kind == "block" and s.index % 2 == 1]
        gated, without = (
            _measured(network, Policy(dict.fromkeys(places, gate))) for gate in (Gate("mod", {"c": 64}), Gate("drop"))
        )
        found[name] = {
            "mod": gated,
            "without": without,
            "speedup": round(1 / gated["ratio"], 3),
            "ceiling": round(1 / without["ratio"], 3),
            "share_of_ceiling": round(without["ratio"] / gated["ratio"], 3),
        }
    return found


def _measured(network: Network, gates: Policy, layout: str | None = None) -> dict[str, Any]:
    """Measure in a layout, or in the one that dense runs fastest in."""
    policy = canonical(gates, network.sites, strict=True)
    device = resolve_device("cpu")
    if layout is None:
        layout = fastest_layout(network, lambda name: setting_of(device, batch_size=1, layout=name))
    setting = setting_of(device, batch_size=1, layout=layout)
    form = compact_form(network, policy, attach_gates(network, policy))
    inputs = [random_input(network.input_shape, setting, seed).float() for seed in range(4)]
    macs = realisable_macs(form, inputs) / dense_macs(network)
    found = compare(compact_form(network, DENSE, {}), form, inputs, setting, varies=False, seconds=12)
    return {
        "macs_ratio": round(macs, 4),
        "ratio": round(found.ratio, 4),
        "ratio_interval": [round(value, 4) for value in found.ratio_interval],
        "dense_ms": round(found.dense.p50, 3),
        "layout": layout,
    }


def _machine() -> dict[str, Any]:
    return {**machine_facts(), "threads": torch.get_num_threads()}


def _spread(values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"ratio": round(float(median), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
