"""Profiles that devices wrote, judged again by networks that the same devices measured afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autogate.latency import LatencyModel, read_profile
from autogate.latency.plan import PlannedNetwork
from autogate.latency.validation import score
from autogate.models import load_model
from autogate.policy import Policy
from autogate.sites import find_sites

FOLDER = Path(__file__).resolve().parents[2] / "hw_profiles"
HELD_OUT = ".held-out.json"
RECORDED = sorted(path.name.removesuffix(HELD_OUT) for path in FOLDER.glob(f"*{HELD_OUT}"))


def test_there_are_some() -> None:
    assert RECORDED


@pytest.mark.parametrize("name", RECORDED)
def test_networks_that_no_profile_has_seen_are_predicted(name: str) -> None:
    held_out = json.loads((FOLDER / f"{name}{HELD_OUT}").read_text(encoding="utf-8"))
    profile = read_profile(FOLDER / f"{name}.jsonl")
    network = find_sites(load_model(profile.model).module, profile.input_shape)
    model = LatencyModel(profile, network, slowness=held_out["canary"])
    points = held_out["points"]
    assert len(points) >= 50
    planned = [PlannedNetwork(Policy.from_json(point["policy"]), point["decisions"]) for point in points]
    batch_size = profile.setting.batch_size
    predicted = np.array([model.predict(p.policy, p.realisation(network.sites, batch_size)).p50 for p in planned])
    measured, again = (np.array([point[key] for point in points]) for key in ("measured_ms", "again_ms"))
    assert measured.std() / measured.mean() >= 0.3
    found, retest = score(predicted, measured), score(again, measured)
    assert found.mape <= max(0.03, 1.5 * retest.mape)
    assert found.within_10 >= 0.95
    assert found.spearman >= 0.99
    assert found.skill >= 0.85
    for baseline in held_out["baselines"].values():
        assert found.mape < baseline["mape"]
