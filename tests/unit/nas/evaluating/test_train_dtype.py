from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from autogate.goals import SearchConfig, make_config
from autogate.nas.evaluating import Task, choose_train_dtype, train_dtype
from autogate.nas.evaluating.train_dtype import planned_images
from autogate.studies import Reporter
from tests.support.data import few_digits
from tests.support.networks import known_network

CPU = torch.device("cpu")
LONG, SHORT = 100_000, 1_000


def config(**settings: Any) -> SearchConfig:
    return make_config(**{"space": {}, "pareto": True, **settings})


def choice(images: int, ratio: float | None, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> str:
    """Return the choice for ResNet-20 if a step in bfloat16 took this share of the time; None: it is not timed."""

    def timed(form: object, shape: tuple[int, int, int], batch_size: int, device: torch.device) -> float:
        assert ratio is not None
        assert (shape, batch_size, device) == ((3, 8, 8), 32, CPU)
        return ratio

    monkeypatch.setattr(train_dtype, "bfloat16_time_ratio", timed)
    data = few_digits(8)
    task = Task(known_network("resnet20"), data, data.preprocessing, CPU, CPU, "resnet20", 0)
    return choose_train_dtype(config(**settings), task, images, Reporter())


def test_what_was_asked_for_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("float32", "bfloat16"):
        assert choice(LONG, None, monkeypatch, train_dtype=asked) == asked


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(0.5, "bfloat16"), (0.84, "bfloat16"), (0.86, "float32"), (20.0, "float32")]
)
def test_a_long_training_takes_what_is_clearly_faster(
    ratio: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choice(LONG, ratio, monkeypatch) == chosen


def test_a_short_training_is_not_worth_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice(SHORT, None, monkeypatch) == "float32"


def test_images_of_a_search() -> None:
    base, shared, short, full = 8 * 1000, 3 * 3000, 1000, 8 * 1000
    assert planned_images(config(), 1000) == base + shared + 40 * short + 2 * full
    assert planned_images(config(weights="w.safetensors"), 1000) == shared + 40 * short + 2 * full
    few = config(trials=10, trainings=3, trial_epochs=2, finalists=1, epochs=1)
    assert planned_images(few, 1000) == base + shared + 3 * 2 * short + 1000


def test_facts_say_it() -> None:
    from autogate.records import StudyFacts

    facts = replace(StudyFacts(), train_dtype="bfloat16")
    assert StudyFacts.from_json(facts.to_json()) == facts
    assert StudyFacts.from_json({"version": 1}).train_dtype is None
