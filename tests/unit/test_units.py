from __future__ import annotations

import pytest

from autogate.errors import UnitError
from autogate.units import (
    Budgets,
    EnergyBudget,
    LatencyBudget,
    MemoryBudget,
    in_joules,
    in_mib,
    parse_bytes,
    parse_drop,
    parse_duration,
)


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


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("200MiB", 200 * 2**20), ("512MB", 512e6), ("1.5 GiB", 1.5 * 2**30), ("64KB", 64e3)]
)
def test_absolute_memory_budgets(text: str, size_bytes: float) -> None:
    assert MemoryBudget.parse(text).limit_bytes(1) == size_bytes


@pytest.mark.parametrize(("text", "joules"), [("0.5J", 0.5), ("80mJ", 0.08), ("9 uJ", 9e-6), ("9µJ", 9e-6)])
def test_absolute_energy_budgets(text: str, joules: float) -> None:
    assert EnergyBudget.parse(text).limit_joules(1000.0) == pytest.approx(joules)


@pytest.mark.parametrize(("text", "fraction"), [("60%", 0.6), ("0.6x", 0.6)])
def test_budgets_of_all_kinds_may_refer_to_dense(text: str, fraction: float) -> None:
    assert MemoryBudget.parse(text).limit_bytes(1000) == pytest.approx(1000 * fraction)
    assert EnergyBudget.parse(text).limit_joules(10.0) == pytest.approx(10 * fraction)


@pytest.mark.parametrize("text", ["200", "0.6", "-5MiB", "0%", "5ms", "5 Mib", "5J", "much"])
def test_wrong_memory_budgets(text: str) -> None:
    with pytest.raises(UnitError, match="memory budget .*; write it like 200MiB, 512MB, 60% or 0.6x"):
        MemoryBudget.parse(text)


@pytest.mark.parametrize("text", ["2", "-5J", "0%", "5W", "5MiB", "little"])
def test_wrong_energy_budgets(text: str) -> None:
    with pytest.raises(UnitError, match="energy budget .*; write it like 0.5J, 80mJ, 70% or 0.7x"):
        EnergyBudget.parse(text)


def test_several_budgets() -> None:
    own = Budgets.parse("60%", "1GiB", None)
    assert own.any
    assert not Budgets().any
    assert own.energy is None
    other = Budgets.parse(memory="2GiB", energy="1J").otherwise(own)
    assert (other.latency, other.memory.text, other.energy.text) == (own.latency, "2GiB", "1J")


def test_sizes_and_energies_for_people() -> None:
    assert [in_mib(size) for size in (1024, 3 * 2**20, 5000 * 2**20)] == ["0.000977 MiB", "3.00 MiB", "5,000.00 MiB"]
    assert [in_joules(joules) for joules in (0.0123456, 2.5)] == ["12.3 mJ", "2.5 J"]
