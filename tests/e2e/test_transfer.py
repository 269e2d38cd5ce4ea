"""Profiles of this device, carried over to it from a simulated one, and measured again when they are stale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autogate.gates import get_family
from autogate.latency.hardware import setting_of
from autogate.latency.model import LatencyModel
from autogate.latency.profile import PlannedNetwork, revalidate, take_profile, transfer_profile
from autogate.latency.profile.transfer import NOT_HERE
from autogate.policy import DENSE, Policy
from autogate.records import Profile
from autogate.sites import Network
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from tests.support.networks import known_network


@pytest.fixture(scope="module")
def network() -> Network:
    return known_network("resnet20")


@pytest.fixture(scope="module")
def space(network: Network) -> BoundSpace:
    return bind(load_space("unified"), network.sites).restricted(
        lambda site, gate: get_family(gate.family).no_saving_reason(network.sites[site], 1) is None
    )


@pytest.fixture(scope="module")
def profile(network: Network, space: BoundSpace) -> Profile:
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
    return take_profile(network, space, setting, model="resnet20", seconds=8.0, strict_time_limit=False)


def test_a_few_networks_make_a_profile_of_another_device(network: Network, space: BoundSpace, profile: Profile) -> None:
    # The other device is five times as fast, and its gates save less.
    fast = replace(
        profile,
        units=tuple(replace(u, ms=(0.2 if "|" not in u.key else 0.25) * u.ms) for u in profile.units),
        networks=tuple(replace(n, ms=0.22 * n.ms) for n in profile.networks),
    )
    found = transfer_profile(fast, network, space, profile.setting, networks=8)
    assert len(found.networks) == 8
    assert found.setting == profile.setting
    assert found.method["transferred_from"]["setting"] == profile.setting.to_json()
    carried = [sample for sample in found.units if sample.network == NOT_HERE]
    assert carried
    assert all(sample.passes == 0 for sample in carried)
    here, there = LatencyModel(found, network), LatencyModel(profile, network)
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        chosen = {d.name: str(rng.choice(d.choices)) for d in space.decisions}
        policy = Policy(space.policy(chosen).gates)
        ratios.append(here.predict(policy).p50 / there.predict(policy).p50)
    # It describes this device as it was meanwhile,
    own = [
        here.predict(policy, PlannedNetwork(policy, one.decisions).realisation(network.sites, 1)).p50 / one.ms
        for one in found.networks
        for policy in [Policy.from_json(one.policy)]
    ]
    assert 0.8 < float(np.median(own)) < 1.25
    # and as the own profile does, which saw it a minute earlier, and maybe at another speed.
    assert 0.5 < float(np.median(ratios)) * there.dense_ms / here.dense_ms < 2.0
    low, high = np.percentile(ratios, [25, 75])
    assert high - low < 0.25 * float(np.median(ratios))


def test_networks_of_a_stale_profile_are_measured_again(network: Network, profile: Profile) -> None:
    old = replace(profile, networks=tuple(replace(n, ms=n.ms / 8) for n in profile.networks))
    since = revalidate(old, network, seconds=1.0)
    assert 2 < since.slowdown < 32
    assert since.error >= 0
    now = LatencyModel(profile, network)
    then = LatencyModel(profile, network, slowdown=since.slowdown, stale_error=0.1)
    assert then.dense_ms == pytest.approx(since.slowdown * now.dense_ms)
    assert 1 + then.error(DENSE) == pytest.approx(1.1 * (1 + now.error(DENSE)))
