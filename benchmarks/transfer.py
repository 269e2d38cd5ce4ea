"""How well a profile of one CPU serves on another that has measured twenty networks; replays recorded profiles.

    python benchmarks/transfer.py

For every network of which ``hw_profiles/`` holds profiles of two devices in the same setting: the profile of the one,
completed by the first twenty mixed networks that the other one's profile holds, predicts the networks that the other
has measured and no profile has seen. Nothing is measured here.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from autogate.latency import LatencyModel, read_profile
from autogate.latency.plan import PlannedNetwork
from autogate.latency.transfer import completed
from autogate.latency.validation import score
from autogate.models import load_model
from autogate.policy import Policy
from autogate.records import MIXED, Profile
from autogate.sites import find_sites

HERE = Path(__file__).parent
PROFILES = HERE.parent / "hw_profiles"
NETWORKS = 20


def main() -> None:
    """Carry every profile over to every other device that has one of the same network."""
    results: list[dict[str, Any]] = []
    files = sorted(path for path in PROFILES.glob("*.jsonl"))
    for there, here in itertools.permutations(files, 2):
        known, own = read_profile(there), read_profile(here)
        if known.model == own.model and known.setting.batch_size == own.setting.batch_size:
            held_out = json.loads(here.with_suffix(".held-out.json").read_text(encoding="utf-8"))
            results.append({
                "network": own.model, "batch_size": own.setting.batch_size,
                "from": known.setting.device_name, "to": own.setting.device_name,
                "model": scores(completed(few_of(own), known), held_out), "own_profile": scores(own, held_out),
            })  # fmt: skip
            print(json.dumps(results[-1]), flush=True)
    document = {"command": "python benchmarks/transfer.py", "networks_measured": NETWORKS, "results": results}
    (HERE / "results" / "transfer.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def few_of(profile: Profile) -> Profile:
    """Return what a profile would be if its first mixed networks were all that was measured."""
    networks = [network for network in profile.networks if network.phase == MIXED][:NETWORKS]
    numbers, keys = {network.network for network in networks}, {key for network in networks for key in network.keys}
    return replace(
        profile, networks=tuple(networks), units=tuple(unit for unit in profile.units if unit.network in numbers),
        forms=tuple(form for form in profile.forms if form.key in keys),
    )  # fmt: skip


def scores(profile: Profile, held_out: dict[str, Any]) -> dict[str, float]:
    """Return how well held-out networks are predicted by a profile."""
    network = find_sites(load_model(profile.model).module, profile.input_shape)
    model = LatencyModel(profile, network, slowness=held_out["canary"])
    points, batch_size = held_out["points"], profile.setting.batch_size
    planned = [PlannedNetwork(Policy.from_json(point["policy"]), point["decisions"]) for point in points]
    predicted = [model.predict(one.policy, one.realisation(network.sites, batch_size)).p50 for one in planned]
    return asdict(score(np.array(predicted), np.array([point["measured_ms"] for point in points])))


if __name__ == "__main__":
    main()
