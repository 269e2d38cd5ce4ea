from __future__ import annotations

from typing import Any

import pytest

from autogate.errors import AutoGateError, UnitError
from autogate.goals import SearchConfig, make_config
from autogate.space import load_space

SPACE = load_space("drop").to_json()


def config(**more: Any) -> SearchConfig:
    return make_config(**{"space": SPACE, "latency_budget": "60%", **more})


def test_defaults_of_the_first_command() -> None:
    found = config()
    assert (found.model, found.data, found.batch_size, found.seed) == ("resnet20", "digits", 1, 0)
    assert found.latency_stat == "p95"
    assert found.budgets.latency.fraction == pytest.approx(0.6)
    assert SearchConfig.model_validate(found.to_json()) == found


@pytest.mark.parametrize(
    "goals",
    [
        {"latency_budget": None},
        {"max_drop": "0.5%"},
        {"pareto": True},
        {"latency_budget": None, "max_drop": "0.5%", "pareto": True},
    ],
)
def test_exactly_one_goal(goals: dict[str, Any]) -> None:
    with pytest.raises(AutoGateError, match="exactly one of --latency-budget 5ms, --max-drop 0.5% and --pareto"):
        config(**goals)


@pytest.mark.parametrize("goal", [{"latency_budget": "5"}, {"latency_budget": None, "max_drop": "0.5"}])
def test_goals_need_units(goal: dict[str, Any]) -> None:
    with pytest.raises(UnitError, match="has no unit"):
        config(**goal)


@pytest.mark.parametrize(
    "name", ["batch_size", "threads", "trials", "trainings", "finalists", "epochs", "lr", "timeout_s", "input_size"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_counts_are_above_zero(name: str, value: int) -> None:
    with pytest.raises(AutoGateError, match=f"{name.replace('_', '-')} must be above zero, not {value}"):
        config(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rates_are_numbers(value: float) -> None:
    with pytest.raises(AutoGateError, match="lr"):
        config(lr=value)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"colour": "red"}, "colour"),
        ({"layout": "nchw"}, "layout"),
        ({"latency_stat": "p99"}, "latency_stat"),
        ({"batch_size": "many"}, "batch_size"),
        ({"mean": (0.5, 0.5)}, "mean"),
        ({"std": (0.5, 0.5, 0.0)}, "std"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], place: str) -> None:
    with pytest.raises(AutoGateError, match=place) as raised:
        config(**wrong)
    assert "\n" not in str(raised.value)


def test_what_may_change_within_a_study() -> None:
    first = config()
    assert first.differences(config(trials=99, trainings=3, finalists=5, timeout_s=10)) == []
    lines = config(batch_size=64, model="resnet56").differences(first)
    assert sorted(lines) == ["batch_size is 1 there and 64 here", "model is 'resnet20' there and 'resnet56' here"]
    assert config(latency_budget="50%").differences(first)
    assert config(space=load_space("mod").to_json()).differences(first)
    assert all(len(line) < 200 for line in config(space=load_space("mod").to_json()).differences(first))
