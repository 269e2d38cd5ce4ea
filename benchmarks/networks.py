"""What AutoGate finds in well-known networks: sites, families that fit, equality of the two forms, export.

    python benchmarks/networks.py [--only NAME ...]

Needs the ``timm`` extra. Weights are random; normalisation layers get statistics of their own, so that folding shows.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from autogate.errors import AutoGateError, ExportError
from autogate.exporters import program_of
from autogate.gates import FAMILIES, get_family
from autogate.models import default_input_size, list_models, load_model
from autogate.policy import Gate, Policy
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form, training_form

NETWORKS = (
    "resnet18",
    "resnet50",
    "resnet20",
    "resnet56",
    "vgg16_bn",
    "vgg16_bn_cifar",
    "densenet121",
    "densenet40",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "shufflenet_v2_x1_0",
    "googlenet",
    "timm:resnet26d",
    "timm:resnext50_32x4d",
    "timm:mobilenetv3_large_100",
    "timm:efficientnet_lite0",
    "timm:regnetx_004",
    "timm:dla34",
    "timm:repvgg_a0",
    "timm:ghostnet_100",
    "timm:hrnet_w18_small",
    "timm:vgg11_bn",
)
GENES: dict[str, dict[str, float | int | str]] = {
    "antidote": {"channel_ratio": 0.5, "column_ratio": 0.25},
    "mod": {"c": 8},
    "lcnet": {"tau": 0.899},
}
TOLERANCE = 1e-5


def main() -> None:
    """Write one row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=NETWORKS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "networks.md")
    args = parser.parse_args()
    names = list(FAMILIES)
    lines = [
        "# Networks",
        "",
        "Made by `python benchmarks/networks.py`. Sites by kind; whether a network that a user built with its library",
        "and passed as a module has the same ones; for each family, the number of sites it fits and the",
        "largest difference between training and compact form with the family at all of them, relative to the largest",
        f"output (at most {TOLERANCE:g} wanted; where it is more, rounding has decided between two channels or columns",
        "judged alike to seven digits, and the difference in float64 is beside it); last, what `torch.export` makes of",
        "the compact form at batch 1.",
        "",
        f"| network | blocks | maps | groups | as a module | {' | '.join(names)} | `.pt2` |",
        f"|---|{'---|' * (len(names) + 5)}",
    ]
    reasons = ["", "What does not fit, and why:", ""]
    for name in args.only:
        line, why = row(name)
        lines.append(line)
        reasons += [f"- {name}: {'; '.join(why)}"] if why else []
        print(line, *why, sep="\n", flush=True)
        if args.only is NETWORKS:
            args.out.write_text("\n".join(lines + reasons) + "\n", encoding="utf-8")


def row(name: str) -> tuple[str, list[str]]:
    """Return a network's line of the table, and what does not fit."""
    size = default_input_size(name)
    try:
        network = find_sites(lively(load_model(name).module), (3, size, size))
    except AutoGateError as error:
        return f"| {name} | 0 | 0 | 0 |", [str(error)]
    kinds = [site.kind for site in network.sites.values()]
    cells, exports = [], []
    why = _refused(network)
    for family in FAMILIES:
        fitting = [site for site in network.sites if FAMILIES[family].fits(network.sites[site])]
        if not fitting:
            cells.append("–")
            why.append(f"{family}: {_why(family, network)}")
            continue
        gate = Gate(family, GENES.get(family, {}))
        policy = canonical(Policy(dict.fromkeys(fitting, gate)), network.sites)
        gates = lively_gates(network, policy)
        compact = compact_form(network, policy, gates)
        masked = training_form(network, gates).eval()
        apart = difference(masked, compact, network)
        cells.append(f"{len(fitting)}: {apart:.0e}")
        if apart > TOLERANCE:
            # Where two channels are judged alike to seven digits, rounding decides which one stays.
            cells[-1] += f" ({difference(masked.double(), compact.double(), network):.0e} in float64)"
            masked.float()
            compact.float()
        exports.append(f"{family} {exported(compact, network)}")
    counts = (str(kinds.count(kind)) for kind in ("block", "map", "group"))
    return f"| {name} | {' | '.join([*counts, _as_module(name, network), *cells])} | {'; '.join(exports)} |", why


def _refused(network: Network) -> list[str]:
    """Return the reasons against sites, each once, with the number of places and one of them."""
    places: dict[str, list[str]] = {}
    for at, reason in network.refused.items():
        places.setdefault(" ".join(word for word in reason.split() if "." not in word), []).append(at)
    return [f"{reason} ({len(at)}, such as {at[0]})" for reason, at in places.items()]


def built_by_a_user(name: str) -> nn.Module | None:
    """Return the network as a user's own code gets it from its library; None for AutoGate's own networks."""
    if name.startswith("timm:"):
        import timm

        return timm.create_model(name.removeprefix("timm:"))  # type: ignore[no-any-return]
    if name in list_models():
        return None
    import torchvision

    return torchvision.models.get_model(name, weights=None)  # type: ignore[no-any-return]


def _as_module(name: str, network: Network) -> str:
    """Return whether the network has the same sites if a user builds it and passes the module."""
    module = built_by_a_user(name)
    if module is None:
        return "–"
    try:
        found = find_sites(module, network.input_shape).sites
    except AutoGateError as error:
        return str(error)
    return "same" if list(found) == list(network.sites) else f"{len(found)} sites"


def _why(family: str, network: Network) -> str:
    """Return the most frequent reason why a family fits no site of its kind."""
    kinds = FAMILIES[family].kinds
    found = Counter(FAMILIES[family].unsupported_reason(site) for site in network.sites.values() if site.kind in kinds)
    return str(found.most_common(1)[0][0]) if found else f"there is no {' or '.join(sorted(kinds))} site"


def difference(masked: nn.Module, compact: nn.Module, network: Network) -> float:
    """Return the largest difference of two networks on random images, relative to the largest output."""
    worst = 0.0
    with torch.no_grad():
        for batch in (1, 3):
            x = torch.randn(batch, *network.input_shape, generator=torch.Generator().manual_seed(batch))
            expected = masked(x := x.to(next(masked.parameters()).dtype))
            worst = max(worst, float((compact(x) - expected).abs().max() / expected.abs().max()))
    return worst


def exported(compact: nn.Module, network: Network) -> str:
    """Return whether the network can be exported, and the reloaded program does the same."""
    x = torch.randn(1, *network.input_shape, generator=torch.Generator().manual_seed(0))
    try:
        program = torch.export.load(io.BytesIO(program_of(compact, x, any_batch=False))).module()
    except ExportError as error:
        return str(error)
    with torch.no_grad():
        same = torch.allclose(program(x), compact(x), rtol=1e-4, atol=1e-5)
    return "ok" if same else "differs"


def lively(module: nn.Module) -> nn.Module:
    """Give normalisation layers statistics and scales that are not trivial."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    for name, parameter in module.named_parameters():
        if "layer_scale" in name:  # starts so small that no block would show
            parameter.data.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def lively_gates(network: Network, policy: Policy) -> dict[str, nn.Module]:
    """Return gates whose scores differ clearly, so that no choice hangs on a rounding error."""
    torch.manual_seed(0)
    gates = attach_gates(network, policy)
    for site, gate in policy:
        if get_family(gate.family).has_weights:
            for name, parameter in gates[site].named_parameters():
                if "score.weight" in name or "expand.weight" in name:
                    nn.init.normal_(parameter)
            lively(gates[site])
    return gates  # type: ignore[return-value]


if __name__ == "__main__":
    main()
