"""Profiles that devices wrote, judged again by networks that the same devices measured afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autogate.latency import LatencyModel, read_profile
from autogate.latency.plan import PlannedNetwork
from autogate.latency.transfer import completed
from autogate.latency.validation import Scores, score
from autogate.models import load_model
from autogate.policy import Policy
from autogate.records import MIXED, Profile
from autogate.sites import find_sites

FOLDER = Path(__file__).resolve().parents[2] / "hw_profiles"
HELD_OUT = ".held-out.json"
RECORDED = sorted(path.name.removesuffix(HELD_OUT) for path in FOLDER.glob(f"*{HELD_OUT}"))


def held_out_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}{HELD_OUT}").read_text(encoding="utf-8"))
    return found


def judged(profile: Profile, held_out: dict[str, Any]) -> Scores:
    network = find_sites(load_model(profile.model).module, profile.input_shape)
    model = LatencyModel(profile, network, slowness=held_out["canary"])
    points, batch_size = held_out["points"], profile.setting.batch_size
    planned = [PlannedNetwork(Policy.from_json(point["policy"]), point["decisions"]) for point in points]
    predicted = [model.predict(one.policy, one.realisation(network.sites, batch_size)).p50 for one in planned]
    return score(np.array(predicted), np.array([point["measured_ms"] for point in points]))


def test_there_are_some() -> None:
    assert RECORDED


@pytest.mark.parametrize("name", RECORDED)
def test_networks_that_no_profile_has_seen_are_predicted(name: str) -> None:
    held_out = held_out_of(name)
    points = held_out["points"]
    assert len(points) >= 50
    measured, again = (np.array([point[key] for point in points]) for key in ("measured_ms", "again_ms"))
    assert measured.std() / measured.mean() >= 0.3
    found, retest = judged(read_profile(FOLDER / f"{name}.jsonl"), held_out), score(again, measured)
    assert found.mape <= max(0.03, 1.5 * retest.mape)
    assert found.within_10 >= 0.95
    assert found.spearman >= 0.99
    assert found.skill >= 0.85
    for baseline in held_out["baselines"].values():
        assert found.mape < baseline["mape"]


@pytest.mark.parametrize(("there", "here"), [("amd-epyc", "intel-xeon"), ("intel-xeon", "amd-epyc")])
@pytest.mark.parametrize("what", ["resnet20-b1", "mobilenet_v2-b1"])
def test_a_profile_of_another_cpu_and_twenty_networks_measured_on_this_one(there: str, here: str, what: str) -> None:
    there, here = (f"{device}-2-cores-{what}-float32-1-thread-eager-torch2.15" for device in (there, here))
    own = read_profile(FOLDER / f"{here}.jsonl")
    networks = [network for network in own.networks if network.phase == MIXED][:20]
    numbers, keys = {network.network for network in networks}, {key for network in networks for key in network.keys}
    few = replace(
        own, networks=tuple(networks), units=tuple(unit for unit in own.units if unit.network in numbers),
        forms=tuple(form for form in own.forms if form.key in keys),
    )  # fmt: skip
    found = judged(completed(few, read_profile(FOLDER / f"{there}.jsonl")), held_out_of(here))
    assert found.mape <= 0.05
    assert found.spearman >= 0.99
