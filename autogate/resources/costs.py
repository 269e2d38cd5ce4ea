"""The cost columns: MACs as papers count them, MACs that really run, parameters, predicted latency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autogate.gates import get_family
from autogate.policy import Policy
from autogate.records import Estimate, LatencyStat, Realisation
from autogate.sites import Network, conv_spec


def dense_macs(network: Network) -> int:
    """Return the MACs per image of all convolutions and linear layers of the dense network."""
    return sum(_layer_macs(network).values())


def paper_macs(network: Network, policy: Policy, realisation: Realisation | None = None) -> int:
    """Return the MACs per image that are left as the papers count them.

    A gate whose cost varies counts with its mean decision, or as open if none was recorded.
    """
    macs = {name: float(count) for name, count in _layer_macs(network).items()}
    removed: dict[tuple[str, bool], float] = defaultdict(float)
    extra = 0
    for site, gate in policy:
        family = get_family(gate.family)
        place = network.sites[site]
        decision = realisation.mean(site) if realisation is not None else None
        for conv, share in family.mac_factors(place, gate, decision).items():
            macs[conv] *= share
        gone = 1 - family.kept_share(place, gate)
        for coupling in place.couplings:
            # Groups hold different channels of one layer, so that what they take from it adds up.
            removed[(coupling.name, True)] += coupling.reads * gone
            removed[(coupling.name, False)] += coupling.writes * gone
        extra += family.extra_macs(place, gate)
    for (name, _), share in removed.items():
        macs[name] *= 1 - share
    return round(sum(macs.values())) + extra


def realisable_macs(compact: nn.Module, batches: list[torch.Tensor]) -> int:
    """Count the MACs per image that a compact network executes on ``batches``, ``[N, C, H, W]`` each."""
    counter = FlopCounterMode(display=False)
    device = next(compact.parameters()).device
    with torch.no_grad(), counter:
        for batch in batches:
            compact(batch.to(device))
    return round(counter.get_total_flops() / 2 / sum(len(batch) for batch in batches))


def parameter_count(compact: nn.Module) -> int:
    """Return the number of weights in a compact network."""
    return sum(p.numel() for p in compact.parameters())


def predicted_statistics(estimate: Estimate, stat: LatencyStat) -> dict[str, float]:
    """Return an estimate as stored with a trial: statistics over inputs and the bound, in milliseconds."""
    return {
        "mean": estimate.mean,
        "p50": estimate.p50,
        "p95": estimate.p95,
        "max": estimate.max,
        "upper": estimate.upper(stat),
    }


def _layer_macs(network: Network) -> Mapping[str, int]:
    macs: dict[str, int] = {}
    for node in network.graph.nodes:
        if node.op != "call_module":
            continue
        module = network.model.get_submodule(str(node.target))
        if isinstance(module, nn.Conv2d):
            macs[str(node.target)] = conv_spec(node, module).macs
        elif isinstance(module, nn.Linear):
            macs[str(node.target)] = module.in_features * module.out_features
    return macs
