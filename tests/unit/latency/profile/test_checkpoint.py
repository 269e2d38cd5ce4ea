"""What an interrupted profile leaves behind, and what goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from autogate.errors import ProfileError
from autogate.latency.profile.checkpoint import ProfileCheckpoint
from autogate.latency.timing import Pass
from autogate.records import ALONE, MIXED
from tests.support.profiles import CARD

FIRST = [Pass(2.0, {0: 0.5, 1: 1.5}), Pass(1.0, {0: 0.5, 1: 0.5}, {0: 0.1, 1: 0.2})]
SECOND = [Pass(2.5, {0: 1.0, 1: 1.5}, group=1, throttled=True), Pass(1.5, {0: 1.0, 1: 0.5}, entries_ms={1: 0.25})]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = ProfileCheckpoint(tmp_path / "deep" / "rounds", "me")
    assert not journal.resumed
    journal.add_card(CARD, 1.0)
    journal.add_round(ALONE, FIRST, 2.0)
    journal.end(ALONE, 2.5)
    journal.add_round(MIXED, SECOND, 3.0)
    assert journal.path is not None
    return journal.path


def test_it_gives_back_what_it_was_given(path: Path) -> None:
    found = ProfileCheckpoint(path, "me")
    assert found.resumed
    assert found.card == CARD
    assert found.rounds(ALONE) == [FIRST]
    assert found.rounds(MIXED) == [SECOND]
    assert (found.ended(ALONE), found.ended(MIXED)) == (True, False)
    assert found.elapsed_s == 3.0


def test_a_line_cut_by_a_kill_is_left_out_and_the_file_goes_on(path: Path) -> None:
    path.write_text(path.read_text()[:-20])
    found = ProfileCheckpoint(path, "me")
    assert found.rounds(ALONE) == [FIRST]
    assert found.rounds(MIXED) == []
    found.add_round(MIXED, SECOND, 4.0)
    assert ProfileCheckpoint(path, "me").rounds(MIXED) == [SECOND]


def test_rounds_that_are_no_good_are_forgotten(path: Path) -> None:
    journal = ProfileCheckpoint(path, "me")
    journal.begin_again(MIXED, 4.0)
    journal.add_round(MIXED, FIRST, 5.0)
    assert journal.rounds(MIXED) == [FIRST]
    found = ProfileCheckpoint(path, "me")
    assert (found.rounds(ALONE), found.rounds(MIXED)) == ([FIRST], [FIRST])


@pytest.mark.parametrize("text", ["", "nonsense", '{"schema": "another"}\n'])
def test_what_is_no_journal_begins_anew(path: Path, text: str) -> None:
    path.write_text(text)
    assert not ProfileCheckpoint(path, "me").resumed


def test_another_profile_begins_anew(path: Path) -> None:
    assert not ProfileCheckpoint(path, "another").resumed
    assert not ProfileCheckpoint(path, "me").resumed


def test_it_goes_when_the_profile_is_complete(path: Path) -> None:
    ProfileCheckpoint(path, "me").remove()
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="cannot write"):
        ProfileCheckpoint(tmp_path / "file" / "rounds", "me")
