from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autogate.goals import make_config
from autogate.nas.evaluating import about_given_weights
from tests.support.data import few_digits

DATA = replace(few_digits(), num_classes=12, class_names=tuple(sorted(str(i) for i in range(12))))


def notes(accuracy: float, **settings: Any) -> list[str]:
    given = {"space": {}, "pareto": True, "weights": "w.safetensors", **settings}
    return about_given_weights(make_config(**given), DATA, accuracy)


@pytest.mark.parametrize("accuracy", [0.0, 1 / 12, 0.125, 2 / 12])
def test_weights_that_guess_are_told(accuracy: float) -> None:
    [note] = notes(accuracy)
    assert f"score {accuracy:.1%} on the validation images, little more than guessing (8.3%)" in note
    assert "classes in this order (0, 1, 10, 11, 2 …)" in note


@pytest.mark.parametrize(
    ("accuracy", "settings"), [(0.4, {}), (1.0, {}), (0.1, {"weights": None}), (0.1, {"new_head": True})]
)
def test_others_are_not(accuracy: float, settings: dict[str, Any]) -> None:
    assert notes(accuracy, **settings) == []
