"""A real profile, of a network so small that it takes seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autogate.gates import get_family
from autogate.latency.hardware import setting_of
from autogate.latency.model import REMOVED, LatencyModel, cut_into_units
from autogate.latency.profile import (
    PlannedNetwork,
    begun_in,
    drift_check,
    drift_networks,
    from_lines,
    slowdown_of,
    take_profile,
    to_lines,
)
from autogate.latency.profile.checkpoint import ProfileCheckpoint
from autogate.latency.profile.take import drift_between, rough_ms, unit_times
from autogate.latency.validation import measure_held_out
from autogate.nas.profiles.choosing import covering_model
from autogate.policy import Gate, Policy
from autogate.records import ALONE, MIXED, WARM, Profile, UnitSample
from autogate.sites import Network
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.surgery import attach_gates, canonical, compact_form, script_decisions
from tests.support.networks import network_of


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


@pytest.fixture(scope="module")
def network() -> Network:
    body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), *(Residual(16) for _ in range(3)))
    return network_of(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)), 16)


@pytest.fixture(scope="module")
def profile(network: Network) -> Profile:
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
    space = bind(load_space("unified"), network.sites)
    return take_profile(network, space, setting, model="tiny", seconds=2.0, seed=0, strict_time_limit=False)


def test_every_gate_is_seen_alone(network: Network, profile: Profile) -> None:
    keys = {REMOVED, *(sample.key for sample in profile.units)}
    units = cut_into_units(network)
    assert {unit.type for unit in units} <= keys
    for site, gate in bind(load_space("unified"), network.sites).gates():
        for decision in get_family(gate.family).decisions(network.sites[site], gate, 1):
            for unit in units:
                if site in unit.sites:
                    assert unit.key({site: gate}, {site: decision}) in keys


def test_it_is_enough_to_predict_with(network: Network, profile: Profile) -> None:
    space = bind(load_space("unified"), network.sites)
    model = covering_model(profile, network, space)
    assert model is not None
    assert 0 < model.dense_ms < 1000
    dropped = canonical(
        Policy({name: Gate("drop") for name in network.sites if name.startswith("block")}), network.sites
    )
    assert len(dropped.gates) == 3
    # Six of seven convolutions less is less.
    assert model.predict(dropped).p50 < model.dense_ms


def test_it_says_where_it_is_from(network: Network, profile: Profile) -> None:
    assert profile.model == "tiny"
    assert profile.input_shape == (3, 16, 16)
    assert profile.setting.threads == 1
    assert profile.networks[0].policy == Policy().to_json()
    assert all(sample.passes >= 3 for sample in profile.networks)
    assert from_lines(to_lines(profile), "here") == profile


def test_scripted_gates_do_as_they_are_told(network: Network) -> None:
    block = next(name for name, site in network.sites.items() if site.kind == "block")
    inner = next(name for name, site in network.sites.items() if block in site.inside)
    policy = canonical(Policy({block: Gate("lcnet"), inner: Gate("lcnet")}), network.sites)
    compact = compact_form(network, policy, attach_gates(network, policy))
    x = torch.randn(4, 3, 16, 16)
    gated = next(module for module in compact.modules() if hasattr(module, "branch"))
    widths: list[int] = []
    gated.branch.register_forward_hook(lambda _, args, result: widths.append(len(args[0])))
    for images, channels in ((0, 4), (3, 4), (4, 16)):
        script_decisions(compact, {block: images, inner: channels})
        widths.clear()
        with torch.no_grad():
            compact(x)
        assert widths == ([images] if images else [])


@pytest.mark.e2e
def test_the_canary_says_how_fast_the_device_is_now(network: Network, profile: Profile) -> None:
    model = LatencyModel(profile, network)
    eighth = LatencyModel(profile, network, slowdown=0.125)
    assert eighth.dense_ms == pytest.approx(0.125 * model.dense_ms)
    found = drift_check(model, seconds=0.5)
    assert 0.1 < found < 10
    # A profile of an eighth of the time makes the same device look eight times as slow, more or less.
    assert drift_check(eighth, seconds=0.5) > 2 * found


def test_networks_that_run_beside_held_out_ones_are_measured_too(network: Network, profile: Profile) -> None:
    model = LatencyModel(profile, network)
    dense, beside = PlannedNetwork(Policy(), {}), drift_networks(model, 3)
    found = measure_held_out(network, [dense], profile.setting, seconds=0.5, references=beside)
    assert found.planned == (dense,)
    assert found.first_ms.shape == found.second_ms.shape == (1,)
    assert len(found.operators) == 1
    assert found.known_ms.shape == found.known_again_ms.shape == (3,)
    assert 0.1 < slowdown_of(model, beside, found.known_ms) < 10


def test_drift_comes_from_what_was_seen_before_and_after() -> None:
    before = [UnitSample("a", 1.0, 0.0, 1, 0), UnitSample("b", 3.0, 0.0, 1, 0), UnitSample("c", 9.0, 0.0, 1, 0)]
    after = [UnitSample("a", 1.4, 0.0, 1, 1), UnitSample("b", 3.4, 0.0, 1, 1), UnitSample("d", 1.0, 0.0, 1, 1)]
    assert drift_between(before, after) == pytest.approx(1.2)


def test_every_sample_says_how_it_was_taken(profile: Profile) -> None:
    assert {sample.phase for sample in profile.networks} == {ALONE, MIXED, WARM}
    assert [sample.network for sample in profile.networks if sample.phase == WARM] == [len(profile.networks) - 1]
    for sample in profile.networks:
        assert sample.interval_ms is not None
        assert sample.interval_ms[0] <= sample.ms <= sample.interval_ms[1]
    assert profile.method["order"].startswith("interleaved")
    assert not profile.method["resumed"]
    assert 0.3 < profile.method["drift"] < 3


@pytest.mark.e2e
def test_an_interrupted_profile_goes_on_from_what_it_has(network: Network, tmp_path: Path) -> None:
    checkpoint_path = tmp_path / "rounds"
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
    space = bind(load_space("magnitude"), network.sites)

    def take(stop_at: str | None) -> Profile:
        def progress(_: float, what: str) -> None:
            if stop_at is not None and what.endswith(stop_at):
                raise KeyboardInterrupt

        return take_profile(
            network,
            space,
            setting,
            model="tiny",
            seconds=2.0,
            seed=0,
            progress=progress,
            checkpoint_path=checkpoint_path,
            strict_time_limit=False,
        )

    for stop_at in ("every gate alone, round 2", "gates mixed, round 3"):
        with pytest.raises(KeyboardInterrupt):
            take(stop_at)
    settings = [replace(setting, layout=layout) for layout in ("channels_last", "contiguous")]
    assert begun_in(network, space, settings, checkpoint_path, model="tiny", seconds=2.0, seed=0) == setting
    assert begun_in(network, space, settings, checkpoint_path, model="tiny", seconds=2.0, seed=1) is None
    before = ProfileCheckpoint(checkpoint_path, json.loads(checkpoint_path.read_text().splitlines()[0])["identity"])
    assert before.ended(ALONE)
    assert len(before.rounds(MIXED)) == 3
    whole = take(None)
    assert whole.method["resumed"]
    assert whole.method["rounds"][ALONE] == len(before.rounds(ALONE))
    assert whole.method["rounds"][MIXED] > 3
    assert not checkpoint_path.exists()
    assert begun_in(network, space, settings, checkpoint_path, model="tiny", seconds=2.0, seed=0) is None
    assert LatencyModel(whole, network).dense_ms > 0


def test_networks_are_roughly_known_before_they_are_run(network: Network, profile: Profile) -> None:
    units = cut_into_units(network)
    unit_ms = unit_times(profile.units)
    ratios = []
    for sample in profile.networks:
        if sample.phase == MIXED:
            planned = PlannedNetwork(Policy.from_json(sample.policy), sample.decisions, sample.executors)
            ratios.append(rough_ms(planned, units, unit_ms) / sample.ms)
    assert float(np.median(ratios)) == pytest.approx(1.0, abs=0.5)
    block, inner = (next(site for site in network.sites if site.startswith(kind)) for kind in ("block", "map"))
    assert inner in units[1].sites
    gates = {block: Gate("lcnet"), inner: Gate("lcnet")}
    both = canonical(Policy(gates), network.sites)
    unit_ms = {key: ms for key, ms in unit_ms.items() if key.count("|") < 2}  # as if no two gates had met
    for is_open in (0, 1):
        planned = PlannedNetwork(both, {block: is_open, inner: 4})
        alone = PlannedNetwork(canonical(Policy({block: Gate("lcnet")}), network.sites), {block: is_open})
        assert rough_ms(planned, units, unit_ms) == pytest.approx(rough_ms(alone, units, unit_ms))
