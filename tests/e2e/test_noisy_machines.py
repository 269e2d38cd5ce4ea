"""Profiles on a machine that is not steady enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import autogate
from autogate.errors import ProfileError
from autogate.latency.timing import drift_filter
from tests.support.workplace import PLACE, Workplace


def test_a_machine_too_noisy_to_measure_is_refused_unless_told_otherwise(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_filter, "TOO_NOISY", 0.0)  # No machine is that steady.
    out = tmp_path / "profile.jsonl"
    how: dict[str, Any] = {"space": "drop.yaml", "time_s": 8.0, **PLACE}
    pattern = r"the machine is too noisy to measure: .+ \(.+\); stop .* --allow-noisy"
    with pytest.raises(ProfileError, match=pattern):
        autogate.profile("e2enet:build", out=out, **how)
    assert not out.exists()
    autogate.profile("e2enet:build", out=out, allow_noisy=True, **how)
    assert out.exists()
