"""How well a profile of one CPU serves on another that has measured twenty networks; replays recorded profiles.

    python benchmarks/transfer.py

For every network of which ``hw_profiles/`` holds profiles of two devices in the same setting: the profile of the one,
completed by the first twenty mixed networks that the other one's profile holds, predicts the networks that the other
has measured and no profile has seen. Nothing is measured here.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autogate.latency.profile import completed, read_profile
from autogate.latency.validation import coverage, few_networks, recorded
from autogate.models import load_model
from autogate.records import Profile
from autogate.sites import find_sites

HERE = Path(__file__).parent
PROFILES = HERE.parent / "hw_profiles"
NETWORKS = 20


def main() -> None:
    """Carry every profile over to every other device that has one of the same network."""
    results: list[dict[str, Any]] = []
    held_outs = {path: path.with_suffix(".held-out.json") for path in sorted(PROFILES.glob("*.jsonl"))}
    files = [path for path, held_out in held_outs.items() if held_out.exists()]
    for there, here in itertools.permutations(files, 2):
        known, own = read_profile(there), read_profile(here)
        if (known.model, known.setting.batch_size) == (own.model, own.setting.batch_size):
            held_out = json.loads(held_outs[here].read_text(encoding="utf-8"))
            results.append(
                {
                    "network": own.model,
                    "batch_size": own.setting.batch_size,
                    "from": known.setting.device_name,
                    "to": own.setting.device_name,
                    "model": scores(completed(few_networks(own, NETWORKS), known), held_out),
                    "own_profile": scores(own, held_out),
                }
            )
            print(json.dumps(results[-1]), flush=True)
    document = {"command": "python benchmarks/transfer.py", "networks_measured": NETWORKS, "results": results}
    (HERE / "results" / "transfer.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def scores(profile: Profile, held_out: dict[str, Any]) -> dict[str, float]:
    """Return how well held-out networks are predicted by a profile, and the share that its bounds cover."""
    network = find_sites(load_model(profile.model).module, profile.input_shape)
    found = recorded(profile, network, held_out)
    return {**asdict(found.scores), "coverage": coverage(found.upper_ms, found.measured_ms)[0]}


if __name__ == "__main__":
    main()
