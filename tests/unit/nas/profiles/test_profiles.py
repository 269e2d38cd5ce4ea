"""Profiles by what a user calls them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autogate.errors import ProfileError
from autogate.latency.profile import write_profile
from autogate.nas.profiles import keep_profile, profile_called
from autogate.policy import Gate
from autogate.store import Store
from tests.support.networks import known_network
from tests.support.profiles import profile_of

PROFILE = profile_of(known_network("resnet20"), [("block:layer1.1", Gate("drop"))])


def test_files_and_recorded_profiles_need_no_database(tmp_path: Path, storage: str) -> None:
    write_profile(PROFILE, tmp_path / "mine.jsonl")
    assert profile_called(str(tmp_path / "mine.jsonl"), storage) == PROFILE
    name = "intel-xeon-2-cores-resnet20-b1-float32-1-thread-eager-torch2.15"
    assert profile_called(name, storage).model == "resnet20"
    assert not (tmp_path / "studies.db").exists()


def test_a_stored_profile_is_called_by_its_digest(anywhere: str) -> None:
    digest = keep_profile(Store(anywhere, create=True), PROFILE)
    assert profile_called(digest, anywhere) == PROFILE
    for unknown in (digest[::-1], digest[:8], "absent.jsonl"):
        with pytest.raises(ProfileError, match=f"cannot read profile {unknown}: it is no file, no recorded profile"):
            profile_called(unknown, anywhere)


def test_a_study_stands_for_its_own_profile(recorded: str) -> None:
    store = Store(recorded)
    target = store.study("budget").facts.target
    assert target is not None
    assert profile_called("budget", recorded) == store.profile(target.profile)
    store.update_facts("budget", lambda facts: replace(facts, target=None))
    with pytest.raises(ProfileError, match="study 'budget' has no profile yet; run"):
        profile_called("budget", recorded)
