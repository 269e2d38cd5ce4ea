"""Profiles that devices wrote, judged again by networks that the same devices measured afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autogate.latency import LatencyModel, read_profile
from autogate.latency.explaining import explain_gates
from autogate.latency.transfer import completed
from autogate.latency.validation import Scores, few_networks, recorded_scores, score
from autogate.models import load_model
from autogate.policy import DENSE
from autogate.records import MIXED, Profile
from autogate.sites import find_sites
from autogate.space import load_space
from autogate.space.bound import bind

FOLDER = Path(__file__).resolve().parents[2] / "hw_profiles"
HELD_OUT = ".held-out.json"
RECORDED = sorted(path.name.removesuffix(HELD_OUT) for path in FOLDER.glob(f"*{HELD_OUT}"))


def held_out_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}{HELD_OUT}").read_text(encoding="utf-8"))
    return found


def judged(profile: Profile, held_out: dict[str, Any]) -> Scores:
    return recorded_scores(profile, find_sites(load_model(profile.model).module, profile.input_shape), held_out)


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


@pytest.mark.parametrize("batch_size", [1, 8, 64, 256])
def test_a_profile_of_a_gpu_predicts_and_explains_without_the_gpu(batch_size: int) -> None:
    profile = read_profile(FOLDER / f"nvidia-h100-80gb-hbm3-resnet18-b{batch_size}-float32-cuda_graph-torch2.11.jsonl")
    network = find_sites(load_model(profile.model).module, profile.input_shape)
    latency = LatencyModel(profile, network)
    dense_ms = next(one.ms for one in profile.networks if one.phase == MIXED and not one.policy["gates"])
    assert latency.dense_ms == pytest.approx(dense_ms, rel=0.07)
    assert latency.error(DENSE) <= 0.11
    space = bind(load_space("unified"), network.sites).restricted(lambda site, gate: site == "block:layer3.1")
    found = {one.gate.family: one for one in explain_gates(latency, space)}
    assert found["drop"].reason is None
    # Its small kernels take longer than they save, unless there is much to save.
    assert "launch-bound" in str(found["mod"].reason) if batch_size <= 8 else found["mod"].saved_ms > 0
    assert "CUDA graph" in str(found["lcnet"].reason)


@pytest.mark.parametrize(("there", "here"), [("amd-epyc", "intel-xeon"), ("intel-xeon", "amd-epyc")])
@pytest.mark.parametrize("what", ["resnet20-b1", "mobilenet_v2-b1"])
def test_a_profile_of_another_cpu_and_twenty_networks_measured_on_this_one(there: str, here: str, what: str) -> None:
    there, here = (f"{device}-2-cores-{what}-float32-1-thread-eager-torch2.15" for device in (there, here))
    own = read_profile(FOLDER / f"{here}.jsonl")
    found = judged(completed(few_networks(own, 20), read_profile(FOLDER / f"{there}.jsonl")), held_out_of(here))
    assert found.mape <= 0.05
    assert found.spearman >= 0.99
