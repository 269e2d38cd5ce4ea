"""What AutoGate reaches in networks of timm that nobody chose: fifty names drawn by a seed.

    python benchmarks/drawn_networks.py [--seed 0] [--networks 50]

Needs the ``timm`` extra. Each network is built as a user builds it: ``timm.create_model(name)``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autogate.errors import AutoGateError
from autogate.gates import FAMILIES
from autogate.sites import Network, conv_spec, find_sites, module_of

# Larger ones take gigabytes; they are passed over.
MOST_PARAMETERS = 60_000_000


def main() -> None:
    """Write one row per network; those that an interrupted run has written stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "drawn-networks.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python benchmarks/drawn_networks.py --seed {args.seed} --networks {args.networks}"
    rows = written(args.out, command)
    for name in drawn(args.seed, args.networks):
        if name in rows:
            continue
        rows[name] = row(name)
        print(name, {key: value for key, value in rows[name].items() if key != "no_site"}, flush=True)
        shares = sorted(one["share_of_macs"] for one in rows.values())
        document = {
            "command": command,
            "torch": torch.__version__,
            "most_parameters": MOST_PARAMETERS,
            "median_share_of_macs": shares[len(shares) // 2],
            "networks": rows,
        }
        args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def written(out: Path, command: str) -> dict[str, Any]:
    """Return the rows of an earlier run of the same command."""
    if not out.is_file():
        return {}
    document = json.loads(out.read_text(encoding="utf-8"))
    return dict(document["networks"]) if document["command"] == command else {}


def drawn(seed: int, count: int) -> list[str]:
    """Return names of timm's networks of at most ``MOST_PARAMETERS``, in the order in which they are drawn."""
    import timm

    names = timm.list_models()
    random.Random(seed).shuffle(names)
    chosen: list[str] = []
    for name in names:
        with torch.device("meta"):
            try:
                size = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
            except Exception:  # noqa: BLE001, S112 - some cannot be built on the meta device
                continue
        chosen += [name] if size <= MOST_PARAMETERS else []
        if len(chosen) == count:
            break
    return chosen


def row(name: str) -> dict[str, Any]:
    """Return what is found in one network."""
    import timm

    torch.manual_seed(0)
    module = timm.create_model(name).eval()
    channels, height, width = module.default_cfg["input_size"]
    known: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "share_of_macs": 0.0,
    }
    start, busy = time.perf_counter(), time.process_time()
    try:
        network = find_sites(module, (channels, height, width))
    except AutoGateError as error:
        return {**known, "error": str(error)}
    known |= {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(time.process_time() - busy, 1)}
    macs = total_macs(module, network.input_shape)
    return {
        **known,
        "macs": macs,
        "share_of_macs": round(reached_macs(network) / macs, 4),
        "sites": Counter(site.kind for site in network.sites.values()),
        "made_plain": network.model is not module,
        "no_site": network.refused,
    }


def total_macs(module: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the multiply-accumulates of everything in a forward pass."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros(1, *shape))
    return int(counter.get_total_flops()) // 2


def reached_macs(network: Network) -> int:
    """Return the multiply-accumulates of layers of which a gate that fits can leave something out."""
    sites = [site for site in network.sites.values() if any(family.fits(site) for family in FAMILIES.values())]
    held = {conv.name for site in sites for conv in site.convs}
    held |= {coupling.name for site in sites for coupling in site.couplings}
    total = 0
    for node in network.graph.nodes:
        layer = module_of(node, network.model)
        if str(node.target) not in held:
            continue
        if isinstance(layer, nn.Conv2d):
            total += conv_spec(node, layer).macs
        elif isinstance(layer, nn.Linear):
            total += layer.in_features * layer.out_features
    return total


if __name__ == "__main__":
    main()
