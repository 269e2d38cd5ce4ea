"""Every sample of a unit says how it was taken, by the network in which it ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from autogate.latency.profile import read_profile
from autogate.latency.profile.transfer import NOT_HERE
from autogate.records import ALONE, MIXED, STRONGEST
from tests.support import ROOT

FILES = sorted((ROOT / "hw_profiles").glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_network_of_a_unit_says_how_it_was_taken(path: Path) -> None:
    profile = read_profile(path)
    phases = {sample.network: sample.phase for sample in profile.networks}
    assert len(phases) == len(profile.networks)
    for unit in profile.units:
        assert unit.network == NOT_HERE or phases[unit.network] in (ALONE, MIXED, STRONGEST)
