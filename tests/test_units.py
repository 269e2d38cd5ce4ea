from __future__ import annotations

import pytest

from autogate.errors import UnitError
from autogate.units import LatencyBudget, parse_bytes, parse_drop, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [("5ms", 5.0), ("800us", 0.8), ("800µs", 0.8), ("0.25s", 250.0), (" 5 ms ", 5.0), ("5e-1ms", 0.5), (".5ms", 0.5)],
)
def test_absolute_budgets(text: str, ms: float) -> None:
    budget = LatencyBudget.parse(text)
    assert budget.absolute_ms == pytest.approx(ms)
    assert budget.fraction is None
    assert budget.limit_ms(dense_ms=1000.0) == pytest.approx(ms)
    assert budget.text == text.strip()


@pytest.mark.parametrize(("text", "fraction"), [("60%", 0.6), ("0.6x", 0.6), ("120%", 1.2), ("7.5%", 0.075)])
def test_relative_budgets(text: str, fraction: float) -> None:
    budget = LatencyBudget.parse(text)
    assert budget.fraction == pytest.approx(fraction)
    assert budget.absolute_ms is None
    assert budget.limit_ms(dense_ms=10.0) == pytest.approx(10 * fraction)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5", "has no unit"),
        ("0.6", "has no unit"),
        ("0ms", "must be above zero"),
        ("-5ms", "must be above zero"),
        ("-60%", "must be above zero"),
        ("5m", "unknown unit 'm'"),
        ("5 seconds", "unknown unit 'seconds'"),
        ("5MS", "unknown unit 'MS'"),
        ("ms", "is not a number with a unit"),
        ("", "is not a number with a unit"),
        ("5ms6", "is not a number with a unit"),
        ("nanms", "is not a number with a unit"),
        ("1e400ms", "1e400ms"),
    ],
)
def test_budgets_that_are_none(text: str, complaint: str) -> None:
    with pytest.raises(UnitError) as raised:
        LatencyBudget.parse(text)
    message = str(raised.value)
    assert complaint in message
    assert repr(text) in message
    assert "5ms" in message
    assert "\n" not in message


def test_drops() -> None:
    assert parse_drop("0.5%") == pytest.approx(0.005)
    for text, complaint in (
        ("0.5", "no unit"),
        ("5ms", "percentage points"),
        ("100%", "below 100%"),
        ("-1%", "above zero"),
    ):
        with pytest.raises(UnitError, match=complaint):
            parse_drop(text)


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
