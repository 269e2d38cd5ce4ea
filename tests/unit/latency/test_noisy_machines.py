"""Profiles on a machine that is not steady enough."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import known_network
from profiles import profile_of

import autogate
from autogate.errors import ProfileError
from autogate.latency.hardware import noise as disturbers
from autogate.latency.hardware.noise import NOTHING, noise_sources_in
from autogate.latency.timing import drift_filter as steadiness
from autogate.latency.timing import noise_reason
from autogate.nas.profiles import profiles
from autogate.policy import Gate
from autogate.records import Profile

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


def simulate(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Have the machine's facts read as calm, but for ``facts``."""

    def state(device: torch.device) -> dict[str, Any]:
        calm = CALM_GPU if device.type == "cuda" else CALM
        return {**calm, **{name: value for name, value in facts.items() if name in calm}}

    monkeypatch.setattr(disturbers, "device_state", state)


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
def test_what_may_disturb_a_machine_is_named(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], named: str
) -> None:
    simulate(monkeypatch, **facts)
    device = "cpu" if facts.keys() <= CALM.keys() else "cuda:0"
    wrong = str(noise_reason(noisy(device)))
    assert f"times of one network spread by 30% ({named}" in wrong
    assert NOTHING not in wrong


def test_everything_that_is_suspicious_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, busiest=["miner"], governor="ondemand", throttled=True)
    wrong = str(noise_reason(noisy("cuda:0", busiest=["gcc", "miner"])))
    causes = "other programs are running: miner, gcc; the CPU's governor is ondemand, not performance"
    assert f"({causes}; the GPU is throttled)" in wrong


def test_if_nothing_is_found_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    assert str(noise_reason(noisy())) == f"times of one network spread by 30% ({NOTHING})"
    # Facts that cannot be read are not suspicious.
    assert noise_sources_in({**dict.fromkeys([*CALM, *CALM_GPU])}, threads=1) == []


@pytest.mark.slow
def test_a_machine_too_noisy_to_measure_is_refused_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "TOO_NOISY", 0.0)  # No machine is that steady.
    simulate(monkeypatch, busiest=["miner"], governor="powersave")
    monkeypatch.setattr(profiles, "QUICK_PROFILE_S", 1.0)
    out = tmp_path / "profile.jsonl"
    how: dict[str, Any] = {"space": "drop", "seconds": None, "batch_size": 1, "threads": 1, "layout": "contiguous"}
    found = re.escape("the CPU's governor is powersave, not performance")
    found = rf"other programs are running: miner.*; {found}"
    pattern = rf"the machine is too noisy to measure: .* spread by \d+% \({found}\); stop .*"
    with pytest.raises(ProfileError, match=pattern):
        autogate.profile("resnet20", out=out, **how)
    assert not out.exists()
    autogate.profile("resnet20", out=out, allow_noisy=True, **how)
    assert out.exists()
