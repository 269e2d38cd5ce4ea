from __future__ import annotations

import random

import pytest

from autogate.data.class_order import about_order


@pytest.mark.parametrize(
    "names",
    [
        [str(i) for i in range(12)],
        [f"class{i}" for i in range(1, 12)],
        [f"{i}_mm" for i in (5, 10)],
        ["-2", "-1", "0"],
        ["0.5", "10.5", "9"],
    ],
)
def test_numbers_in_the_order_of_texts_are_told(names: list[str]) -> None:
    [note] = about_order(sorted(names))
    assert "named by numbers but ordered as text" in note
    assert ", ".join(sorted(names)[:4]) in note


@pytest.mark.parametrize(
    "names",
    [
        [str(i) for i in range(10)],
        [f"{i:02}" for i in range(12)],
        ["cat", "dog", "10"],
        ["a10", "b9"],
        ["n01440764", "n01443537", "n02102040"],
        ["class-1", "class-2"],
        ["inf", "nan"],
    ],
)
def test_other_names_are_not(names: list[str]) -> None:
    assert about_order(sorted(names)) == []


def test_random_numbers() -> None:
    rng = random.Random(3)
    for _ in range(50):
        numbers = rng.sample(range(200), rng.randint(2, 20))
        names = sorted(map(str, numbers))
        assert bool(about_order(names)) == (names != [str(number) for number in sorted(numbers)])
