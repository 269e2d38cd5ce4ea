"""How hard AntiDote should prune each map, from sensitivity curves of the trained network; trains nothing.

    python benchmarks/antidote_ratios.py --network resnet56 --data FOLDER --weights FOLDER --cut 0.376

A gate stands at one map alone and leaves out ever more channels, or columns, which costs loss on validation images:
finer than the accuracy that ``autogate sensitivity`` tells, which hardly moves for one of 27 maps. The
ratios chosen cut the MACs, as the paper counts them, at the least sum of these costs. ``families.py antidote`` trains
with them.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from reproductions.antidote import ratios_file
from reproductions.row import inner_maps
from torch import nn

from autogate.data import load_data
from autogate.models import load_model
from autogate.policy import DENSE, Gate, Policy
from autogate.resources import dense_macs, paper_macs
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, training_form

RATIOS = ("channel_ratio", "column_ratio")
VALUES = (0.3, 0.5, 0.7, 0.9)
BATCH = 100

Curves = dict[str, dict[str, dict[float, float]]]
"""Loss added by a gate alone, by site, ratio and its value."""


def main() -> None:
    """Measure the curves, choose ratios and write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet56")
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of NETWORK-cifar10jpeg.safetensors files")
    parser.add_argument("--cut", type=float, default=0.376, help="share of the paper's MACs to leave out")
    parser.add_argument("--images", type=int, default=300)
    args = parser.parse_args()
    data = load_data(args.data)
    weights = str(args.weights / f"{args.network}-cifar10jpeg.safetensors")
    network = find_sites(load_model(args.network, weights=weights, num_classes=data.num_classes).module, (3, 32, 32))
    batches = list(data.val.batches(BATCH, limit=args.images))
    found = curves(network, [site for site, _ in inner_maps(args.network)], batches)
    document = {
        "command": f"python benchmarks/antidote_ratios.py --network {args.network} --cut {args.cut:g} "
        f"--images {args.images} --data FOLDER --weights FOLDER",
        "curves": found,
        "ratios": cheapest(network, found, args.cut),
    }
    ratios_file(args.network).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document["ratios"]))


def curves(network: Network, sites: list[str], batches: list[Any]) -> Curves:
    """Return what a gate at each of ``sites`` adds to the loss; it never falls as the ratio grows."""
    dense = loss(training_form(network, attach_gates(network, DENSE)), batches)
    found: Curves = {}
    for site, ratio in itertools.product(sites, RATIOS):
        added = {0.0: 0.0}
        for value in VALUES:
            policy = canonical(Policy({site: Gate("antidote", {ratio: value})}), network.sites)
            form = training_form(network, attach_gates(network, policy))
            added[value] = max(*added.values(), round(loss(form, batches) - dense, 4))
        found.setdefault(site, {})[ratio] = added
        print(site, ratio, added, flush=True)
    return found


def loss(form: nn.Module, batches: list[Any]) -> float:
    """Return the mean cross-entropy in evaluation."""
    form.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        losses = [nn.functional.cross_entropy(form(images).float(), labels) for images, labels in batches]
    return float(torch.stack(losses).mean())


def cheapest(network: Network, found: Curves, cut: float) -> dict[str, dict[str, float]]:
    """Return ratios by site that cut at least ``cut`` of the MACs at the least sum of added losses.

    Every site takes the pair of ratios that is best at one price of a MAC, the lowest price that cuts enough.
    """
    dense = dense_macs(network)
    options = {
        site: [
            (
                _saved(network, site, pair) / dense,
                sum(of_site[name][value] for name, value in _genes(pair).items()),
                pair,
            )
            for pair in itertools.product(*(of_site[name] for name in RATIOS))
        ]
        for site, of_site in found.items()
    }
    low, high = 0.0, 1e4
    for _ in range(60):
        price = (low + high) / 2
        enough = sum(best[0] for best in _bought(options, price).values()) >= cut
        low, high = (low, price) if enough else (price, high)
    return {site: _genes(pair) for site, (_, _, pair) in _bought(options, high).items()}


def _bought(options: Mapping[str, list[tuple[float, float, Any]]], price: float) -> dict[str, tuple[float, float, Any]]:
    return {site: max(of_site, key=lambda one: price * one[0] - one[1]) for site, of_site in options.items()}


def _genes(pair: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(RATIOS, pair, strict=True))


def _saved(network: Network, site: str, pair: tuple[float, ...]) -> int:
    policy = canonical(Policy({site: Gate("antidote", _genes(pair))}), network.sites)
    return dense_macs(network) - paper_macs(network, policy)


if __name__ == "__main__":
    main()
