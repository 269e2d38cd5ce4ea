"""Which profile a search works with, on a device that takes profiles at once and is as fast as one says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autogate.errors import NoiseError, ProfileError
from autogate.goals import SearchConfig, make_config
from autogate.latency.hardware import Patience, setting_of
from autogate.latency.profile import profile_digest, write_profile
from autogate.nas.profiles import keep_profile
from autogate.nas.profiles.choosing import FoundProfile, Measuring, profile_for
from autogate.records import Profile
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.store import Store
from autogate.studies import Reporter, StudyRun
from tests.support.networks import known_network
from tests.support.profiles import profile_of, some_target

CPU = torch.device("cpu")
NETWORK = known_network("resnet20")
SPACE = bind(load_space("drop"), NETWORK.sites)
SOUND = replace(
    profile_of(NETWORK, SPACE.gates(), networks=12),
    setting=setting_of(CPU, batch_size=1, layout="contiguous", threads=1),
)
SPOILED = replace(
    SOUND,
    created_utc="2026-06-01T00:00:00+00:00",
    networks=tuple(replace(one, ms=70 * one.ms if one.network % 5 == 4 else one.ms) for one in SOUND.networks),
)
FRESH = replace(SOUND, created_utc="2026-07-01T00:00:00+00:00")


@pytest.fixture
def store(storage: str) -> Store:
    return Store(storage, create=True)


def config(**more: Any) -> SearchConfig:
    space = load_space("drop").to_json()
    return make_config(model="resnet20", space=space, pareto=True, device="cpu", threads=1, runtime="eager", **more)


class Device:
    """Takes profiles at once, and runs dense so much slower each time it is looked at."""

    def __init__(self, *slowdowns: float) -> None:
        self.left: Iterator[float] = iter(slowdowns)
        self.takes = 0

    def take(self, *_: object, **__: object) -> Profile:
        self.takes += 1
        return FRESH

    def choose(self, store: Store, name: str = "mine", **more: Any) -> FoundProfile:
        quiet = Patience(0.0, busy_cores=lambda: 0.0)
        measuring = Measuring(self.take, lambda _: next(self.left), lambda: quiet)
        run = StudyRun(store, name, config(**more), Reporter())
        return profile_for(run, NETWORK, SPACE, CPU, measuring)


def test_a_stored_profile_is_used_where_it_makes_sense(store: Store) -> None:
    keep_profile(store, SOUND)
    found = Device(1.1).choose(store)
    assert (found.profile, found.origin, found.slowdown) == (SOUND, "stored", 1.1)


def test_one_that_noise_spoiled_is_not_used(store: Store) -> None:
    keep_profile(store, SPOILED)
    device = Device(1.0)
    assert device.choose(store).profile == FRESH
    assert device.takes == 1
    keep_profile(store, SOUND)  # an older one will do
    assert Device(1.0).choose(store).profile == SOUND


def test_a_fresh_one_is_taken_if_that_is_asked_for(store: Store) -> None:
    keep_profile(store, SOUND)
    found = Device(1.0).choose(store, fresh_profile=True)
    assert (found.profile, found.origin) == (FRESH, "taken")


@pytest.mark.parametrize("slowdown", [0.3, 2.5, 40.0])
def test_a_device_that_does_not_run_as_its_stored_profile_says_is_profiled_anew(store: Store, slowdown: float) -> None:
    keep_profile(store, SOUND)
    found = Device(slowdown, slowdown, slowdown, 1.02).choose(store)
    assert (found.profile, found.origin, found.slowdown) == (FRESH, "taken", 1.02)
    # A disturbance that passes is no reason.
    assert Device(slowdown, slowdown, 0.98).choose(store) == FoundProfile(SOUND, "stored", slowdown=0.98)


def test_noise_that_stays_is_named(store: Store) -> None:
    device = Device(*[3.0] * 3)
    with pytest.raises(
        NoiseError, match=r"noisy to measure: dense takes 3.00 times what it took a moment ago \(.+\); stop"
    ):
        device.choose(store)
    assert store.profiles("resnet20") == []


def study_on(store: Store, profile: Profile, **facts: Any) -> None:
    keep_profile(store, profile)
    target = some_target(profile=profile_digest(profile), setting=profile.setting, **facts)
    store.create_study("mine", config())
    store.update_facts("mine", lambda known: replace(known, target=target))


def test_a_study_keeps_its_profile_unless_noise_spoiled_it(store: Store) -> None:
    study_on(store, SOUND, slowdown=1.2)
    assert Device().choose(store) == FoundProfile(SOUND, "study", slowdown=1.2)
    assert Device(1.0).choose(store, fresh_profile=True).profile == FRESH


def test_a_study_whose_profile_was_spoiled_gets_another(store: Store) -> None:
    study_on(store, SPOILED, slowdown=1.0)
    assert Device(1.0).choose(store) == FoundProfile(FRESH, "taken", slowdown=1.0)


def test_a_named_profile_that_noise_spoiled_is_refused(store: Store, tmp_path: Path) -> None:
    write_profile(SPOILED, tmp_path / "board.jsonl")
    with pytest.raises(
        ProfileError, match=r"noise spoiled .*board.jsonl when it was taken: networks may take .*; take"
    ):
        Device().choose(store, profile=str(tmp_path / "board.jsonl"))
