"""The time that a profile may take is kept: on a clock that only the profile's own work moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from autogate.errors import NoiseError, ProfileError
from autogate.goals import SearchConfig, make_config
from autogate.latency.hardware import Patience, inference_setting, setting_of
from autogate.latency.hardware.gpu import ThrottleWatch
from autogate.latency.model import MIN_NETWORKS, LatencyModel, Unit
from autogate.latency.profile import (
    Instruments,
    PlannedNetwork,
    fastest_layout,
    take_profile,
    transfer_profile,
    write_profile,
)
from autogate.latency.profile.timed_networks import TimedNetwork
from autogate.latency.timing import Pass, interleave
from autogate.nas.profiles import profile_network, transfer_to_here
from autogate.records import ALONE, MIXED, WARM, Profile, Setting
from autogate.sites import Network
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from autogate.studies import Reporter
from tests.support.networks import known_network
from tests.support.profiles import CARD, profile_of

CPU = torch.device("cpu")
NETWORK = known_network("resnet20")
SETTING = setting_of(CPU, batch_size=1, layout="contiguous", threads=1)


BUILT: dict[tuple[object, ...], TimedNetwork] = {}


def built(network: Network, units: tuple[Unit, ...], planned: PlannedNetwork, setting: Setting) -> TimedNetwork:
    """Return a planned network, which takes much longer to build than to simulate, once for all tests."""
    decided, plan = (tuple(sorted(told.items())) for told in (planned.decisions, planned.executors))
    key = (planned.policy.digest, decided, plan, setting.layout)
    if key not in BUILT:
        BUILT[key] = TimedNetwork(network, units, planned, setting)
    return BUILT[key]


class Device:
    """A machine on which building a network, and running it, take as long as one says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.build_s = 0.05
        self.pass_s = 0.02
        self.ms: Callable[[], float] = lambda: 1.0
        self.throttled: ThrottleWatch | None = None
        self.busy, self.busy_until = 0.0, float("inf")

    @property
    def instruments(self) -> Instruments:
        return Instruments(
            clock=lambda: self.now,
            exclusive=inference_setting,  # nobody else needs this device
            throttle_watch=lambda _: nullcontext(self.throttled),
            take_card=self.card,
            patience=self.patience,
            timed=self.timed,
            timed_network=self.subject,
        )

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, busy_cores=self.busy_cores, sleep=self.sleep, clock=lambda: self.now)

    def busy_cores(self) -> float:
        self.now += 0.3
        return self.busy if self.now < self.busy_until else 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def subject(self, *args: Any) -> TimedNetwork:
        device = self

        class Slow(TimedNetwork):
            def __init__(self) -> None:
                self.__dict__.update(vars(built(*args)))
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
def device() -> Device:
    return Device()


@pytest.fixture(scope="module")
def space() -> BoundSpace:
    return bind(load_space("drop"), NETWORK.sites)


@pytest.fixture(scope="module")
def many() -> BoundSpace:
    """A space of so many gates that what one network suffers is not taken for the machine's."""
    return bind(load_space("magnitude"), NETWORK.sites)


def mixed(profile: Profile) -> int:
    return sum(sample.phase == MIXED for sample in profile.networks)


@pytest.mark.e2e
@pytest.mark.parametrize("pass_s", [0.005, 0.1])
def test_a_profile_keeps_its_time(device: Device, space: BoundSpace, pass_s: float) -> None:
    device.pass_s = pass_s
    device.ms = lambda: 1.0 + 0.1 * (device.now % 1)  # so unsteady that no median is ever narrow
    begun = device.now
    taken = take_profile(
        NETWORK, space, SETTING, model="resnet20", seconds=20.0, elapsed_s=2.0, instruments=device.instruments
    )
    assert 0.6 * 18 < device.now - begun <= 18
    assert mixed(taken) >= MIN_NETWORKS
    assert {sample.phase for sample in taken.networks} == {ALONE, MIXED, WARM}
    assert taken.method["seconds"] <= 20


@pytest.mark.e2e
def test_fewer_networks_are_planned_where_passes_are_slow(device: Device, space: BoundSpace) -> None:
    counts = []
    for device.pass_s in (0.01, 0.2):
        counts.append(
            mixed(take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0, instruments=device.instruments))
        )
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[-1]
    assert counts[-1] >= MIN_NETWORKS


def test_a_time_too_short_is_said_in_time(device: Device, space: BoundSpace) -> None:
    begun = device.now
    device.pass_s = 5.0
    with pytest.raises(ProfileError, match="raise --time"):
        take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0, instruments=device.instruments)
    assert device.now - begun <= 20
    begun, device.pass_s, device.build_s = device.now, 0.01, 9.0
    with pytest.raises(ProfileError, match="raise --time"):
        take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0, instruments=device.instruments)
    assert device.now - begun <= 20 + device.build_s
    # A search has to have its profile.
    begun, device.build_s, device.pass_s = device.now, 0.05, 1.0
    taken = take_profile(
        NETWORK, space, SETTING, model="resnet20", seconds=20.0, strict_time_limit=False, instruments=device.instruments
    )
    assert device.now - begun > 20
    assert mixed(taken) >= 10


def config(**more: Any) -> SearchConfig:
    return make_config(
        model="resnet20",
        space=load_space("drop").to_json(),
        pareto=True,
        device="cpu",
        batch_size=1,
        threads=1,
        runtime="eager",
        **more,
    )


class Notes(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


@pytest.mark.e2e
def test_a_noisy_machine_gets_further_attempts_within_the_same_time(device: Device, many: BoundSpace) -> None:
    begun, notes, runs = device.now, Notes(), iter(range(10**9))
    device.pass_s = 0.01

    def noisy_ms() -> float:
        return 1.0 if next(runs) % 7 < 4 else 2.0

    device.ms = noisy_ms
    with pytest.raises(NoiseError, match="too noisy to measure: networks may take 98% more than the profile predicts"):
        profile_network(config(), NETWORK, many, CPU, notes, 60.0, instruments=device.instruments)
    assert device.now - begun <= 60
    assert notes.heard == ["the machine was noisy: the profile was begun 3 times"]
    begun = device.now
    once = profile_network(config(), NETWORK, many, CPU, notes, 60.0, allow_noisy=True, instruments=device.instruments)
    assert device.now - begun <= 60
    assert once.method["attempts"] == {ALONE: 1, MIXED: 1}


def for_a_search(device: Device, space: BoundSpace) -> Profile:
    """Profile as a search does, which may take longer than it was given."""
    return profile_network(
        config(layout="contiguous"),
        NETWORK,
        space,
        CPU,
        Reporter(),
        20.0,
        strict_time_limit=False,
        instruments=device.instruments,
    )


def test_a_search_profiles_on_until_every_network_was_undisturbed(device: Device, many: BoundSpace) -> None:
    """A neighbour takes a core away during most passes, and is gone after two minutes."""
    rng, device.pass_s = random.Random(0), 0.03
    device.busy, device.busy_until = 8.0, device.now + 120.0
    device.ms = lambda: rng.choice([1.0, *[8.0 + rng.random()] * 9]) if device.now < device.busy_until else 1.0
    begun = device.now
    taken = for_a_search(device, many)
    assert all(sample.ms == pytest.approx(1.0) for sample in taken.networks if sample.phase == MIXED)
    assert LatencyModel(taken, NETWORK).largest_error < 0.1
    assert device.now - begun < 400


def test_nothing_is_kept_of_a_device_that_never_becomes_quiet(device: Device, many: BoundSpace) -> None:
    rng, device.pass_s, device.busy = random.Random(1), 0.03, 8.0
    device.ms = lambda: rng.choice([1.0, *(8.0 * 2 ** rng.uniform(0, 4) for _ in range(19))])
    begun = device.now
    with pytest.raises(NoiseError, match=r"^the machine is too noisy to measure: .* \(.+\); stop other programs, "):
        for_a_search(device, many)
    assert device.now - begun < 600


def test_a_profile_says_how_often_the_device_was_throttled(device: Device, space: BoundSpace) -> None:
    device.throttled = ThrottleWatch(lambda: 0x44)  # heat, and the power limit
    begun = device.now
    taken = take_profile(NETWORK, space, SETTING, model="resnet20", seconds=20.0, instruments=device.instruments)
    assert device.now - begun <= 20
    assert taken.method["groups_throttled"] >= taken.method["rounds"][ALONE]
    assert taken.method["groups_power_capped"] == taken.method["groups_throttled"]
    assert taken.method["groups_again"] > 0


def test_an_attempt_on_a_machine_that_calms_down_is_the_last(device: Device, many: BoundSpace, tmp_path: Path) -> None:
    begun, runs, journal = device.now, iter(range(10**9)), tmp_path / "rounds.jsonl"
    calm = False

    def ms() -> float:
        nonlocal calm
        # The device becomes calm when the first attempt has been given up.
        calm = calm or '"again":' in journal.read_text(encoding="utf-8")
        return 1.0 + 0.1 * (device.now % 1) if calm or next(runs) % 7 >= 3 else 2.0

    device.ms = ms
    device.pass_s = 0.01
    taken = profile_network(
        config(layout="contiguous"),
        NETWORK,
        many,
        CPU,
        Reporter(),
        60.0,
        checkpoint_path=journal,
        instruments=device.instruments,
    )
    assert device.now - begun <= 60
    assert taken.method["attempts"] == {ALONE: 2, MIXED: 1}
    assert all(sample.iqr_ms < 0.25 * sample.ms for sample in taken.networks)


@pytest.mark.e2e
@pytest.mark.parametrize("slowdown", [1, 30])
def test_a_profile_that_is_carried_over_keeps_its_time(
    device: Device, space: BoundSpace, tmp_path: Path, slowdown: int
) -> None:
    there = profile_of(NETWORK, space.gates())
    device.pass_s = 0.01 * slowdown
    device.ms = lambda: 1.0 + 0.1 * (device.now % 1)
    write_profile(there, tmp_path / "there.jsonl")
    begun, notes = device.now, Notes()
    taken = transfer_to_here(
        str(tmp_path / "there.jsonl"), config(), NETWORK, space, CPU, notes, 20, 20.0, instruments=device.instruments
    )
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
        transfer_profile(there, NETWORK, space, SETTING, seconds=20.0, instruments=device.instruments)
    assert device.now - begun <= 20 + device.pass_s


def test_fewest_rounds_do_not_outlast_what_may_be_spent() -> None:
    now = 0.0

    def slow() -> float:
        nonlocal now
        now += 1.0
        # Disturbed in every other round, which must not make it longer than there is time.
        return 1.0 if int(now / 10) % 2 else 1.5

    found = interleave([slow] * 10, seconds=5.0, hard_limit_s=75.0, warm_up=1, min_rounds=40, clock=lambda: now)
    assert found.rounds >= 4
    assert now <= 75.0
    with pytest.raises(ProfileError, match="too short to run each of 10 networks once"):
        interleave([slow] * 10, seconds=5.0, hard_limit_s=15.0, warm_up=1, min_rounds=1, clock=lambda: now)


def test_the_fastest_layout_is_found_in_time(device: Device) -> None:
    device.pass_s = 0.5
    begun = device.now
    fastest_layout(NETWORK, lambda layout: SETTING, hard_limit_s=6.0, instruments=device.instruments)
    assert device.now - begun <= 6.0
