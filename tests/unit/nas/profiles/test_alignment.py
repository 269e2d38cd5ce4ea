"""``align: auto`` becomes the step that the device, a named profile or a stored one says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autogate.errors import DeviceError
from autogate.goals import SearchConfig, make_config
from autogate.latency.model import LatencyModel, explain_gates
from autogate.latency.profile import write_profile
from autogate.nas.profiles import at_step_of, at_step_there, keep_profile, settled_space
from autogate.nas.profiles.alignment import with_step
from autogate.space import load_space, parse_space
from autogate.space.bound import bind
from autogate.store import Store
from autogate.studies import Reporter
from tests.support.networks import known_network
from tests.support.profiles import profile_of

CPU, NETWORK = torch.device("cpu"), known_network("resnet20")


def config_of(align: Any, **settings: Any) -> SearchConfig:
    space = {**load_space("magnitude").to_json(), "align": align}
    return make_config(
        model="resnet20", space=space, latency_budget="75%", runtime="eager", layout="contiguous", threads=1, **settings
    )


def found(step: int) -> Any:
    return lambda setting, seconds, instruments: step


def not_asked(*_: object, **__: object) -> int:
    raise AssertionError("the device was measured")


def step_of(config: SearchConfig) -> int:
    return parse_space(config.space, "here").step


def test_the_device_is_asked_where_nothing_says_its_step() -> None:
    assert step_of(settled_space(config_of("auto"), CPU, Reporter(), measure=found(16))) == 16
    given = config_of(8)
    assert settled_space(given, CPU, Reporter(), measure=not_asked) is given
    once = settled_space(config_of("auto"), CPU, Reporter(), measure=found(1))
    assert settled_space(once, CPU, Reporter(), measure=not_asked) is once


def test_profiles_say_the_step_they_were_taken_with(tmp_path: Path) -> None:
    settled = settled_space(config_of("auto"), CPU, Reporter(), measure=found(16))
    space = bind(parse_space(settled.space, "here"), NETWORK.sites)
    profile = with_step(profile_of(NETWORK, space.gates()), settled)
    write_profile(profile, tmp_path / "named.jsonl")
    named = config_of("auto", profile=str(tmp_path / "named.jsonl"))
    assert step_of(settled_space(named, CPU, Reporter(), measure=not_asked)) == 16
    # One from before there were steps, or of a step that a user chose, says nothing.
    chosen = with_step(profile_of(NETWORK, space.gates()), config_of(8))
    write_profile(chosen, tmp_path / "before.jsonl")
    before = config_of("auto", profile=str(tmp_path / "before.jsonl"))
    assert step_of(settled_space(before, CPU, Reporter(), measure=not_asked)) == 1


def test_a_stored_profile_of_the_same_setting_says_it_too(tmp_path: Path) -> None:
    from autogate.nas.profiles.profiles import setting_for

    config = config_of("auto")
    store = Store(f"sqlite:///{tmp_path / 'studies.db'}", create=True)
    here = setting_for(config, CPU, "contiguous")
    profile = replace(profile_of(NETWORK, []), model="resnet20", setting=here)
    keep_profile(store, profile)
    assert step_of(settled_space(config, CPU, Reporter(), store, measure=found(8))) == 8
    keep_profile(store, replace(profile, method={"channel_step": 16}, created_utc="2099-01-01T00:00:00+00:00"))
    assert step_of(settled_space(config, CPU, Reporter(), store, measure=not_asked)) == 16
    elsewhere = config.model_copy(update={"batch_size": 8})
    assert step_of(settled_space(elsewhere, CPU, Reporter(), store, measure=found(32))) == 32


def test_a_profile_is_explained_with_the_step_it_was_taken_with() -> None:
    settled = settled_space(config_of("auto"), CPU, Reporter(), measure=found(16))
    space = bind(parse_space(settled.space, "here"), NETWORK.sites)
    profile = with_step(profile_of(NETWORK, space.gates()), settled)
    auto, by_hand = (parse_space(config_of(align).space, "here") for align in ("auto", 8))
    assert bind(at_step_of(auto, profile), NETWORK.sites).gates() == space.gates()
    assert at_step_of(by_hand, profile) is by_hand
    explained = explain_gates(LatencyModel(profile, NETWORK), bind(by_hand, NETWORK.sites))
    unknown = [one for one in explained if one.reason == "the profile does not hold it"]
    assert unknown
    assert len(unknown) < len(explained)


def test_a_study_that_is_there_keeps_its_step_or_that_it_has_none() -> None:
    asked, before = load_space("magnitude").to_json(), {"sites": {}, "tie": "site"}
    assert at_step_there(asked, {**before, "align": {"auto": 16}}) == {**asked, "align": {"auto": 16}}
    assert at_step_there(asked, {**before, "align": 8})["align"] == 8
    assert "align" not in at_step_there(asked, before)


def test_a_device_that_cannot_run_the_layers_says_so() -> None:
    def broken(*_: object, **__: object) -> int:
        raise DeviceError("no")

    with pytest.raises(DeviceError, match="no"):
        settled_space(config_of("auto"), CPU, Reporter(), measure=broken)
