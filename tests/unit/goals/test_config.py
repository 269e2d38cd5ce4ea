from __future__ import annotations

import os
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
    flag = {"timeout_s": "--timeout"}.get(name, f"--{name.replace('_', '-')}")
    with pytest.raises(AutoGateError, match=f"^{flag} must be above zero, not {value}$"):
        config(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rates_are_numbers(value: float) -> None:
    with pytest.raises(AutoGateError, match="lr"):
        config(lr=value)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"colour": "red"}, "unknown setting 'colour'; known: latency_budget, max_drop, "),
        ({"bach_size": 8}, "unknown setting 'bach_size'; did you mean batch_size?"),
        ({"layout": "nchw"}, "--layout must be auto, contiguous or channels_last, not 'nchw'"),
        ({"latency_stat": "p99"}, "--latency-stat must be mean, p50, p95 or max, not 'p99'"),
        ({"batch_size": "many"}, "--batch-size must be a whole number, not 'many'"),
        ({"batch_size": 70_000}, "--batch-size must be at most 65536, not 70000"),
        ({"latency_budget": 5}, "--latency-budget must be a text, not 5"),
        ({"download": "maybe"}, "--download must be true or false, not 'maybe'"),
        ({"space": "drop"}, "--space must be a mapping, not 'drop'"),
        ({"workers": -1}, "--workers must be between 0 and 1024, not -1"),
        ({"workers": 2000}, "--workers must be between 0 and 1024, not 2000"),
        ({"workers": 0, "backend": "ray"}, "--workers must be at least 1 with --backend ray, not 0"),
        ({"gpus_per_trial": 1}, "--ray-address and --gpus-per-trial go with --backend ray"),
        ({"gpus_per_trial": -1, "backend": "ray"}, "--gpus-per-trial must be zero or more, not -1"),
        ({"timeout_s": float("nan")}, "--timeout must be a finite number, not nan"),
        ({"mean": ()}, "--mean must be numbers, one per channel, not ()"),
        ({"std": "0.5"}, "--std must be numbers, one per channel, not '0.5'"),
        ({"input_size": (224, 0)}, "--input-size must be above zero, not 0"),
        ({"input_size": (224, 20_000)}, "--input-size must be at most 16384, not 20000"),
        (
            {"input_size": (8, 8, 3)},
            "--input-size must be a whole number, or height and width such as 224x160, not (8,",
        ),
        ({"input_size": True}, "--input-size must be a whole number, or height and width such as 224x160, not"),
        ({"input_size": 22.4}, "--input-size must be a whole number, or height and width such as 224x160, not"),
        (
            {"input_size": "wide"},
            "--input-size must be a whole number, or height and width such as 224x160, not 'wide'",
        ),
        ({"mean": (0.5, float("inf"), 0.5)}, "each number of --mean must be a finite number, not inf"),
        ({"std": (0.5, 0.5, 0.0)}, "each number of --std must be above zero, not 0"),
        ({"seed": -1}, "--seed must be between 0 and 9223372036854775807, not -1"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AutoGateError) as raised:
        config(**wrong)
    assert str(raised.value).startswith(complaint)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "size"), [(224, 224), ("224", 224), ("224x160", (224, 160)), ([8, 16], (8, 16)), ((32, 32), 32)]
)
def test_sizes_of_inputs(given: Any, size: Any) -> None:
    made = config(input_size=given)
    assert made.input_size == size
    assert make_config(**made.to_json()).input_size == size


def test_what_may_change_within_a_study() -> None:
    first = config()
    assert first.differences(config(trials=99, trainings=3, finalists=5, timeout_s=10)) == []
    lines = config(batch_size=64, model="resnet56").differences(first)
    assert sorted(lines) == ["batch_size is 1 there and 64 here", "model is 'resnet20' there and 'resnet56' here"]
    assert config(latency_budget="50%").differences(first)
    assert config(space=load_space("mod").to_json()).differences(first)
    assert all(len(line) < 200 for line in config(space=load_space("mod").to_json()).differences(first))


@pytest.mark.parametrize(("setting", "flag"), [("data", "--data"), ("val", "--val"), ("weights", "--weights")])
def test_paths_that_no_database_can_store(setting: str, flag: str) -> None:
    with pytest.raises(AutoGateError) as raised:
        config(**{setting: os.fsdecode(b"caf\xe9")})
    assert str(raised.value).startswith(f"{flag} caf\\xe9 holds bytes that are no text and cannot be stored; rename it")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"fresh_profile": True, "profile": "board.jsonl"}, "--fresh-profile and --profile exclude each other"),
        ({"backend": "ray", "train_threads": 2}, "--train-threads goes with --backend local; with ray, give --cpus"),
        ({"train_threads": 0}, "--train-threads must be above zero, not 0"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AutoGateError, match=complaint):
        config(**settings)
