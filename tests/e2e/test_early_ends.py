"""What is left of a search that ends before its first trial."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from autogate import api
from autogate.errors import NoStudiesError, TrainingError
from autogate.store import Store
from autogate.studies import Reporter
from tests.support.workplace import Workplace


class Interrupting(Reporter):
    """Interrupts when a stage begins."""

    def __init__(self, stage: str | None = None) -> None:
        super().__init__()
        self.at = stage
        self.notes: list[str] = []

    def enter(self, name: str) -> None:
        if name == self.at:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


def failing_score(network: nn.Module, part: str) -> float:
    raise ValueError("the labels are missing")


@pytest.fixture
def asked(workplace: Workplace, foreign: str) -> dict[str, Any]:
    url = f"sqlite:///{workplace.root / 'early.db'}"
    return {**workplace.quick, "pareto": True, "trials": 1, "profile": foreign, "storage": url}


def test_an_error_leaves_a_study_only_if_something_was_finished(asked: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="the labels are missing"):
        api.search(study="given", score_fn=failing_score, **asked)
    assert Store(asked["storage"]).study_names() == []
    untrained = {**asked, "weights": None}
    with pytest.raises(TrainingError, match="the labels are missing"):
        api.search(study="trained", score_fn=failing_score, train_fn=lambda network, fidelity: None, **untrained)
    assert Store(asked["storage"]).study_names() == ["trained"]  # with the weights of the dense network


def test_a_search_goes_on_with_one_that_was_interrupted_before_its_first_trial(asked: dict[str, Any]) -> None:
    asked["storage"] = asked["storage"].replace("early", "interrupted")
    with pytest.raises(NoStudiesError):
        api.list_studies(storage=asked["storage"])
    with pytest.raises(KeyboardInterrupt):
        api.search(reporter=Interrupting("score dense"), **asked)
    (name,) = Store(asked["storage"]).study_names()
    with pytest.raises(KeyboardInterrupt):
        api.search(reporter=Interrupting("score dense"), **{**asked, "seed": 1})  # another one
    again = Interrupting()
    assert api.search(reporter=again, **asked).name == name
    assert any(f"study {name}, the same as this one, was interrupted" in note for note in again.notes)
    assert len(Store(asked["storage"]).study_names()) == 2
    assert api.search(reporter=again, **asked).name not in (name, "")  # that one has trials now
