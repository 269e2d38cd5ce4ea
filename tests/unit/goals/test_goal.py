"""Goals and budgets: parsed from what a user writes, once."""

from __future__ import annotations

from typing import Any

import pytest

from autogate.errors import AutoGateError, UnitError
from autogate.goals import Budgets, EnergyBudget, Goal, LatencyBudget, MemoryBudget, make_config
from autogate.space import load_space


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


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("200MiB", 200 * 2**20), ("512MB", 512e6), ("1.5 GiB", 1.5 * 2**30), ("64KB", 64e3)]
)
def test_absolute_memory_budgets(text: str, size_bytes: float) -> None:
    assert MemoryBudget.parse(text).limit_bytes(1) == size_bytes


@pytest.mark.parametrize(("text", "joules"), [("0.5J", 0.5), ("80mJ", 0.08), ("9 uJ", 9e-6), ("9µJ", 9e-6)])
def test_absolute_energy_budgets(text: str, joules: float) -> None:
    assert EnergyBudget.parse(text).absolute_joules == pytest.approx(joules)
    assert EnergyBudget.parse(text).limit(1000.0) == pytest.approx(joules)


@pytest.mark.parametrize(("text", "fraction"), [("60%", 0.6), ("0.6x", 0.6)])
def test_budgets_of_all_kinds_may_refer_to_dense(text: str, fraction: float) -> None:
    assert MemoryBudget.parse(text).limit_bytes(1000) == pytest.approx(1000 * fraction)
    assert EnergyBudget.parse(text).limit(10.0) == pytest.approx(10 * fraction)


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


@pytest.mark.parametrize(
    ("asked", "mode", "limit_ms", "floor"),
    [
        ({"latency_budget": "60%"}, "budget", 12.0, None),
        ({"latency_budget": "800us"}, "budget", 0.8, None),
        ({"latency_budget": "0.25x", "memory_budget": "200MiB"}, "budget", 5.0, None),
        ({"max_drop": "0.5%"}, "drop", None, 0.895),
        ({"max_drop": "2%", "energy_budget": "70%"}, "drop", None, 0.88),
        ({"pareto": True}, "pareto", None, None),
        ({"pareto": True, "memory_budget": "0.5x", "energy_budget": "80mJ"}, "pareto", None, None),
    ],
)
def test_goals(asked: dict[str, Any], mode: str, limit_ms: float | None, floor: float | None) -> None:
    goal = Goal.parse(**asked)
    assert goal.mode == mode
    assert goal.limit_ms(dense_ms=20.0) == (None if limit_ms is None else pytest.approx(limit_ms))
    assert goal.floor(dense_accuracy=0.9) == (None if floor is None else pytest.approx(floor))
    for name in ("latency", "memory", "energy"):
        budget = getattr(goal.budgets, name)
        assert (budget and budget.text) == asked.get(f"{name}_budget")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({}, "exactly one of --latency-budget 5ms, --max-drop 0.5% and --pareto"),
        ({"latency_budget": "5ms", "pareto": True}, "exactly one of"),
        ({"latency_budget": "5"}, "latency budget '5' has no unit; write it like 5ms, 800us, 60% or 0.6x"),
        ({"max_drop": "5ms"}, "accuracy drop '5ms' must be in percentage points; write it like 0.5%"),
        ({"max_drop": "100%"}, "accuracy drop '100%' must be below 100%"),
        ({"pareto": True, "memory_budget": "5J"}, "memory budget '5J' has the unknown unit 'J'; write it like 200MiB"),
        ({"pareto": True, "energy_budget": "0J"}, "energy budget '0J' must be above zero and finite; write it like"),
    ],
)
def test_goals_that_are_none(asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AutoGateError) as raised:
        Goal.parse(**asked)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_configuration_parses_its_goal_once() -> None:
    config = make_config(space=load_space("drop").to_json(), latency_budget="60%", memory_budget="1GiB")
    assert config.goal is config.goal
    assert config.budgets is config.goal.budgets
    assert config.goal == Goal("budget", Budgets.parse("60%", "1GiB"))
    assert "goal" not in config.to_json()
    assert type(config).model_validate(config.to_json()) == config
    tighter = config.model_copy(update={"latency_budget": "50%"})
    assert tighter.goal.budgets.latency == LatencyBudget.parse("50%")
