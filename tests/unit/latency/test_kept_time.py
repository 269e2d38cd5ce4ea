"""The time that a profile may take is kept: on a clock that only the profile's own work moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import known_network
from profiles import CARD, profile_of

from autogate import device_lock
from autogate.errors import ProfileError
from autogate.goals import SearchConfig, make_config
from autogate.latency.hardware import setting_of
from autogate.latency.hardware.gpu import ThrottleWatch
from autogate.latency.model import MIN_NETWORKS
from autogate.latency.profile import phases, take_profile, transfer, transfer_profile
from autogate.latency.profile import take as profiling
from autogate.latency.profile.timed_networks import TimedNetwork
from autogate.latency.timing import Pass, interleave
from autogate.nas.profiles import profile_network, profiles, transfer_to_here
from autogate.records import ALONE, MIXED, WARM, Profile
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from autogate.studies import Reporter
from autogate.system import FileLock

CPU = torch.device("cpu")
NETWORK = known_network("resnet20")
SETTING = setting_of(CPU, batch_size=1, layout="contiguous", threads=1)


class Device:
    """A machine on which building a network, and running it, take as long as one says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.build_s = 0.05
        self.pass_s = 0.02
        self.ms: Callable[[], float] = lambda: 1.0

    def monotonic(self) -> float:
        return self.now

    def subject(self, *args: Any) -> TimedNetwork:
        device = self

        class Slow(TimedNetwork):
            def __init__(self) -> None:
                super().__init__(*args)
                device.now += device.build_s

            def run(self) -> float:
                device.now += device.pass_s
                whole_ms = device.ms()
                self.last = Pass(whole_ms, {i: whole_ms / len(self.keys) for i in range(len(self.keys))})
                return whole_ms

        return Slow()

    def card(self, *_: object, seconds: float) -> Any:
        self.now += seconds
        return CARD

    def timed(self, *_: object) -> Callable[[], float]:
        def run() -> float:
            self.now += self.pass_s
            return 1.0

        return run


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    made = Device()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    unlocked = FileLock(tmp_path / "absent" / "lock")  # nobody else needs this device
    monkeypatch.setattr(device_lock, "_lock_file", lambda name: unlocked)
    for module in (phases, profiling):
        monkeypatch.setattr(module, "timed", made.timed)
    for module in (profiling, transfer):
        monkeypatch.setattr(module, "take_card", made.card)
    monkeypatch.setattr(phases, "TimedNetwork", made.subject)
    return made


@pytest.fixture(scope="module")
def space() -> BoundSpace:
    return bind(load_space("drop"), NETWORK.sites)


@pytest.fixture(scope="module")
def many() -> BoundSpace:
    """A space of so many gates that what one network suffers is not taken for the machine's."""
    return bind(load_space("magnitude"), NETWORK.sites)


def mixed(profile: Profile) -> int:
    return sum(sample.phase == MIXED for sample in profile.networks)


@pytest.mark.parametrize("pass_s", [0.005, 0.1])
def test_a_profile_keeps_its_time(device: Device, space: BoundSpace, pass_s: float) -> None:
    device.pass_s = pass_s
    device.ms = lambda: 1.0 + 0.1 * (device.now % 1)  # so unsteady that no median is ever narrow
    begun = device.now
    taken = take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0, elapsed_s=2.0)
    assert 0.6 * 18 < device.now - begun <= 18
    assert mixed(taken) >= MIN_NETWORKS
    assert {sample.phase for sample in taken.networks} == {ALONE, MIXED, WARM}
    assert taken.method["seconds"] <= 20


def test_fewer_networks_are_planned_where_passes_are_slow(device: Device, space: BoundSpace) -> None:
    counts = []
    for device.pass_s in (0.01, 0.2):
        counts.append(mixed(take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0)))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[-1]
    assert counts[-1] >= MIN_NETWORKS


def test_a_time_too_short_is_said_in_time(device: Device, space: BoundSpace) -> None:
    begun = device.now
    device.pass_s = 5.0
    with pytest.raises(ProfileError, match="raise --time"):
        take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0)
    assert device.now - begun <= 20
    begun, device.pass_s, device.build_s = device.now, 0.01, 9.0
    with pytest.raises(ProfileError, match="raise --time"):
        take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0)
    assert device.now - begun <= 20 + device.build_s
    # A search has to have its profile.
    begun, device.build_s, device.pass_s = device.now, 0.05, 1.0
    taken = take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0, strict_time_limit=False)
    assert device.now - begun > 20
    assert mixed(taken) >= 10


def config(**more: Any) -> SearchConfig:
    return make_config(
        model="resnet20", space=load_space("drop").to_json(), pareto=True, device="cpu", batch_size=1, threads=1, **more
    )


class Notes(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def test_a_noisy_machine_gets_further_attempts_within_the_same_time(device: Device, many: BoundSpace) -> None:
    begun, notes, runs = device.now, Notes(), iter(range(10**9))
    device.pass_s = 0.01

    def noisy_ms() -> float:
        return 1.0 if next(runs) % 7 < 4 else 2.0

    device.ms = noisy_ms
    taken = profile_network(config(), NETWORK, many, CPU, notes, 60.0)
    assert device.now - begun <= 60
    assert taken.method["attempts"] == {ALONE: 3, MIXED: 3}
    assert notes.heard == ["the machine was noisy: the profile was begun 3 times"]
    begun = device.now
    once = profile_network(config(), NETWORK, many, CPU, notes, 60.0, attempts=1)
    assert device.now - begun <= 60
    assert once.method["attempts"] == {ALONE: 1, MIXED: 1}


def test_a_profile_says_how_often_the_device_was_throttled(
    device: Device, space: BoundSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = ThrottleWatch(lambda: 0x44)  # heat, and the power limit
    monkeypatch.setattr(phases, "throttle_watch", lambda _: nullcontext(hot))
    begun = device.now
    taken = take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0)
    assert device.now - begun <= 20
    assert taken.method["groups_throttled"] >= taken.method["rounds"][ALONE]
    assert taken.method["groups_power_capped"] == taken.method["groups_throttled"]
    assert taken.method["groups_again"] > 0


def test_an_attempt_on_a_machine_that_calms_down_is_the_last(
    device: Device, many: BoundSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, runs, given_up = device.now, iter(range(10**9)), list[str]()
    begin_again = phases.ProfileCheckpoint.begin_again

    def hear(journal: phases.ProfileCheckpoint, phase: str, elapsed_s: float) -> None:
        given_up.append(phase)
        begin_again(journal, phase, elapsed_s)

    monkeypatch.setattr(phases.ProfileCheckpoint, "begin_again", hear)
    device.ms = lambda: 2.0 if not given_up and next(runs) % 7 < 3 else 1.0 + 0.1 * (device.now % 1)
    device.pass_s = 0.01
    taken = profile_network(config(layout="contiguous"), NETWORK, many, CPU, Reporter(), 60.0)
    assert device.now - begun <= 60
    assert given_up == [ALONE]
    assert taken.method["attempts"] == {ALONE: 2, MIXED: 1}
    assert all(sample.iqr_ms < 0.25 * sample.ms for sample in taken.networks)


@pytest.mark.parametrize("slowdown", [1, 30])
def test_a_profile_that_is_carried_over_keeps_its_time(
    device: Device, space: BoundSpace, monkeypatch: pytest.MonkeyPatch, slowdown: int
) -> None:
    there = profile_of(NETWORK, space.gates())
    device.pass_s = 0.01 * slowdown
    device.ms = lambda: 1.0 + 0.1 * (device.now % 1)
    monkeypatch.setattr(profiles, "read_profile", lambda path: there)
    begun, notes = device.now, Notes()
    taken = transfer_to_here("there", config(), NETWORK, space, CPU, notes, 20, 20.0)
    assert 14 < device.now - begun <= 20
    if slowdown == 1:
        assert mixed(taken) == 20
        assert not notes.heard
    else:
        assert MIN_NETWORKS <= mixed(taken) < 20
        assert notes.heard == [f"{mixed(taken)} of 20 networks were measured; more do not fit into the time"]
    device.pass_s = 3.0
    begun = device.now
    with pytest.raises(ProfileError, match="raise --time"):
        transfer_profile(there, NETWORK, space, SETTING, seconds=20.0)
    assert device.now - begun <= 20 + device.pass_s


def test_fewest_rounds_do_not_outlast_what_may_be_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def slow() -> float:
        nonlocal now
        now += 1.0
        # Disturbed in every other round, which must not make it longer than there is time.
        return 1.0 if int(now / 10) % 2 else 1.5

    found = interleave([slow] * 10, seconds=5.0, hard_limit_s=75.0, warm_up=1, min_rounds=40)
    assert found.rounds >= 4
    assert now <= 75.0
    with pytest.raises(ProfileError, match="too short to run each of 10 networks once"):
        interleave([slow] * 10, seconds=5.0, hard_limit_s=15.0, warm_up=1, min_rounds=1)


def test_the_fastest_layout_is_found_in_time(device: Device) -> None:
    device.pass_s = 0.5
    begun = device.now
    profiling.fastest_layout(NETWORK, lambda layout: SETTING, hard_limit_s=6.0)
    assert device.now - begun <= 6.0
