"""Profiles on a machine that is not steady enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from autogate.latency.hardware.noise import NOTHING, noise_sources_in
from autogate.latency.timing import noise_reason
from autogate.policy import Gate
from autogate.records import Profile
from tests.support.networks import known_network
from tests.support.profiles import profile_of

CALM = {"governor": "performance", "turbo_off": "1", "smt": "0", "load": 1.2, "busiest": []}
CALM_GPU = {"other_processes": 0, "throttled": False, "power_capped": False, "sm_mhz": 1980, "max_sm_mhz": 1980}


def noisy(device: str = "cpu", **card_state: Any) -> Profile:
    profile = profile_of(known_network("resnet20"), [("block:layer1.1", Gate("drop"))])
    return replace(
        profile,
        setting=replace(profile.setting, device=device),
        card=replace(profile.card, state=card_state),
        networks=tuple(replace(one, iqr_ms=0.3 * one.ms) for one in profile.networks),
    )


def simulated(**facts: Any) -> Callable[[torch.device], dict[str, Any]]:
    """Return the state of devices that are calm, but for ``facts``."""

    def state(device: torch.device) -> dict[str, Any]:
        calm = CALM_GPU if device.type == "cuda" else CALM
        return {**calm, **{name: value for name, value in facts.items() if name in calm}}

    return state


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"busiest": ["miner", "cc1plus"]}, "other programs are running: miner, cc1plus"),
        ({"load": 6.25}, "the load is 6.2, of which 2 is the measurement"),
        ({"governor": "powersave"}, "the CPU's governor is powersave, not performance"),
        ({"turbo_off": "0"}, "the CPU's turbo is on"),
        ({"smt": "1"}, "SMT is on"),
        ({"other_processes": 2}, "2 other processes use the GPU"),
        ({"throttled": True}, "the GPU is throttled"),
        ({"power_capped": True}, "the GPU is power capped"),
        ({"sm_mhz": 1200}, "the GPU's clock is at 1200 of 1980 MHz, which --lock-clocks holds"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_may_disturb_a_machine_is_named(facts: dict[str, Any], named: str) -> None:
    device = "cpu" if facts.keys() <= CALM.keys() else "cuda:0"
    wrong = str(noise_reason(noisy(device), state_of=simulated(**facts)))
    assert f"times of one network spread by 30% ({named}" in wrong
    assert NOTHING not in wrong


def test_everything_that_is_suspicious_is_named() -> None:
    now = simulated(busiest=["miner"], governor="ondemand", throttled=True)
    wrong = str(noise_reason(noisy("cuda:0", busiest=["gcc", "miner"]), state_of=now))
    causes = "other programs are running: miner, gcc; the CPU's governor is ondemand, not performance"
    assert f"({causes}; the GPU is throttled)" in wrong


def test_if_nothing_is_found_that_is_said() -> None:
    assert str(noise_reason(noisy(), state_of=simulated())) == f"times of one network spread by 30% ({NOTHING})"
    # Facts that cannot be read are not suspicious.
    assert noise_sources_in({**dict.fromkeys([*CALM, *CALM_GPU])}, threads=1) == []
