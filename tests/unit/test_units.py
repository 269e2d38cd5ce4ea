from __future__ import annotations

import pytest

from autogate.errors import UnitError
from autogate.units import (
    in_joules,
    in_mib,
    parse_bytes,
    parse_channels,
    parse_duration,
    parse_percentage_points,
    score_format,
    score_text,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("5m", 300.0), ("5min", 300.0), ("2h", 7200.0), ("1d", 86400.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["90", "0s", "-1h", "5ms", "1w", "soon"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(UnitError, match="write it like 90s, 5m or 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"), [("512MiB", 2**29), ("2GiB", 2**31), ("1.5KiB", 1536), ("3MB", 3_000_000), ("1GB", 10**9)]
)
def test_byte_counts(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["2", "2G", "2gib", "0GiB", "-1MB", "lots"])
def test_byte_counts_that_are_none(text: str) -> None:
    with pytest.raises(UnitError, match="write it like 512MiB or 2GiB"):
        parse_bytes(text)


def test_sizes_and_energies_for_people() -> None:
    assert [in_mib(size) for size in (1024, 3 * 2**20, 5000 * 2**20)] == ["0.000977 MiB", "3.00 MiB", "5,000.00 MiB"]
    assert [in_joules(joules) for joules in (0.0123456, 2.5)] == ["12.3 mJ", "2.5 J"]


def test_drops() -> None:
    assert parse_percentage_points("0.5%", "accuracy drop", "0.5%") == pytest.approx(0.005)
    for text, complaint in (
        ("0.5", "no unit"),
        ("5ms", "percentage points"),
        ("100%", "below 100%"),
        ("-1%", "above zero"),
    ):
        with pytest.raises(UnitError, match=complaint):
            parse_percentage_points(text, "accuracy drop", "0.5%")


def test_channels() -> None:
    assert parse_channels("0.5, 1,2e-1") == (0.5, 1.0, 0.2)
    assert parse_channels("0.5") == (0.5,)
    for text in ("0.5,", "a,b,c", ""):
        with pytest.raises(UnitError, match=f"'{text}' must be numbers, one per channel; write it like 0.485,"):
            parse_channels(text)


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.98765, "98.77%"), (1.0, "100.00%"), (0.0, "0.00%"), (-0.3217, "-0.3217"), (31.416, "31.42"), (None, "")],
)
def test_scores_that_are_no_fraction_are_no_percentage(score: float | None, text: str) -> None:
    assert score_text(score) == text


def test_axes_of_scores_are_percentages_only_for_fractions() -> None:
    assert score_format([0.5, 1.0], 1) == ".1%"
    assert "%" not in score_format([0.5, -1.0], 1)
