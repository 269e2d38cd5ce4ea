"""Profiles carried over to another device, and profiles of other versions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autogate.errors import ProfileError
from autogate.gates import get_family
from autogate.latency.hardware import setting_of
from autogate.latency.profile import revalidate, transfer_profile
from autogate.latency.profile.transfer import carried_over
from autogate.policy import Gate
from autogate.records import Setting, UnitSample
from autogate.sites import Network
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from tests.support.networks import known_network
from tests.support.profiles import SETTING, profile_of


def seen(**times: float) -> list[UnitSample]:
    return [UnitSample(key.replace("__", "|0:"), ms, 0.0, 10, 0) for key, ms in times.items()]


def test_what_was_not_seen_here_takes_as_much_longer_as_what_is_like_it() -> None:
    there = seen(a=1.0, a__drop=0.2, a__mod=0.5, b=4.0, b__mod=2.0, b__drop=1.0)
    here = seen(a=2.0, a__drop=0.6, b=4.0)
    found = {sample.key: sample.ms for sample in carried_over(there, here)}
    # Of unit a, dense takes 2 times as long here and dropped 3 times; of unit b only dense was seen.
    assert found == pytest.approx({"a|0:mod": 0.5 * np.sqrt(2 * 3), "b|0:mod": 2.0, "b|0:drop": 1.0})


def test_blocks_that_are_left_out_in_no_time_are_carried_over() -> None:
    there, here = seen(a=1.0, a__drop=0.0, b=1.0, b__drop=0.0), seen(a=2.0, a__drop=0.0)
    assert {sample.key: sample.ms for sample in carried_over(there, here)} == {"b": 2.0, "b|0:drop": 0.0}


def test_forms_of_the_same_family_are_likest() -> None:
    there = [*seen(a=1.0), UnitSample("a|0:mod(c=8)", 0.5, 0, 1, 0), UnitSample("a|0:mod(c=16)", 0.4, 0, 1, 0)]
    here = [*seen(a=2.0), UnitSample("a|0:mod(c=8)", 2.0, 0, 1, 0)]
    assert [sample.ms for sample in carried_over(there, here)] == pytest.approx([1.6])


@pytest.fixture(scope="module")
def network() -> Network:
    return known_network("resnet20")


@pytest.fixture(scope="module")
def space(network: Network) -> BoundSpace:
    return bind(load_space("unified"), network.sites).restricted(
        lambda site, gate: get_family(gate.family).no_saving_reason(network.sites[site], 1) is None
    )


def test_another_batch_size_cannot_be_transferred(network: Network, space: BoundSpace) -> None:
    there = profile_of(network, [("block:layer1.1", Gate("drop"))])
    setting = setting_of(torch.device("cpu"), batch_size=4, layout="contiguous", threads=1)
    with pytest.raises(ProfileError, match="batch size 1, not 4"):
        transfer_profile(there, network, space, setting)


def test_a_profile_that_does_not_say_what_ran_cannot_be_refreshed(network: Network) -> None:
    with pytest.raises(ProfileError, match="profile again"):
        revalidate(profile_of(network, [("block:layer1.1", Gate("drop"))]), network)


def test_only_versions_and_modes_make_a_profile_stale() -> None:
    now = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
    other = replace(now, versions={**now.versions, "torch": "1.0"})
    assert other.is_stale(now)
    assert not now.is_stale(now)
    assert not replace(other, threads=7).is_stale(now)
    assert other.differences(now) == [f"torch is {now.versions['torch']!r}, not '1.0'"]


MODES = {"matmul_tf32": "off", "cudnn_tf32": "on", "cudnn_benchmark": "off"}


def on_gpu(**versions: str) -> Setting:
    return replace(SETTING, device="cuda:0", versions={**SETTING.versions, "driver": "600.1", **versions})


def test_modes_that_a_profile_does_not_tell_are_no_difference() -> None:
    old, now = on_gpu(), on_gpu(**MODES)
    for one, other in ((old, now), (now, old), (now, now)):
        assert one.agrees_with(other)
        assert not one.is_stale(other)
    changed = on_gpu(**{**MODES, "matmul_tf32": "on"})
    assert now.is_stale(changed)
    assert now.differences(changed) == ["matmul_tf32 is 'on', not 'off'"]


def test_a_profile_with_locked_clocks_is_stale_without_them_and_the_other_way_round() -> None:
    locked, now = on_gpu(**MODES, clocks="locked"), on_gpu(**MODES)
    assert locked.agrees_with(locked)
    assert locked.is_stale(now)
    assert now.is_stale(locked)
    assert on_gpu().is_stale(locked)
    assert locked.differences(now) == ["clocks is 'not locked', not 'locked'"]
    assert Setting.from_json(locked.to_json()) == locked
