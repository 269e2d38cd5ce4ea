"""Profiles on a machine that is not steady enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import autogate
from autogate.errors import ProfileError
from autogate.latency import steadiness


@pytest.mark.slow
def test_a_machine_too_noisy_to_measure_is_refused_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "TOO_NOISY", 0.0)  # No machine is that steady.
    out = tmp_path / "profile.jsonl"
    how: dict[str, Any] = {"space": "drop", "seconds": 15.0, "batch_size": 1, "threads": 1, "layout": "contiguous"}
    refusal = r"the machine is too noisy to measure: times of one network spread by \d+%.*or keep .* --allow-noisy"
    with pytest.raises(ProfileError, match=refusal):
        autogate.profile("resnet20", out=out, **how)
    assert not out.exists()
    autogate.profile("resnet20", out=out, allow_noisy=True, **how)
    assert out.exists()
