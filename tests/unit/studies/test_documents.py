"""Documents of a recorded study, against what its database holds."""

from __future__ import annotations

from typing import Any

import pytest

from autogate import api
from autogate.errors import StudyError
from autogate.store import Store
from tests.support.databases import execute


def within(trials: list[Any], limit_ms: float) -> set[int]:
    """Return the trained trials whose predicted upper bound is within a limit."""
    return {t.number for t in trials if t.val_accuracy is not None and t.predicted["upper"] <= limit_ms}


def test_the_winner_is_the_finalist_of_the_database(recorded_anywhere: str) -> None:
    document, store = api.show_study("budget", storage=recorded_anywhere).to_json(), Store(recorded_anywhere)
    [finalist] = store.finalists("budget")
    best = document["best"]
    assert document["closest"] is None
    assert (best["trial"], best["policy_digest"]) == (finalist.trial, finalist.policy.digest)
    assert (best["val_accuracy"], best["test_accuracy"]) == (finalist.val_accuracy, finalist.test_accuracy)
    assert best["policy"] == finalist.policy.to_json()
    assert best["macs_paper"] < document["dense"]["macs"]
    assert best["meets_budget"]


def test_a_study_for_another_device_is_labelled_as_predicted(recorded: str) -> None:
    document = api.show_study("budget", storage=recorded).to_json()
    assert (document["label"], document["device"]) == ("predicted", "a device elsewhere")
    assert document["best"]["measured_ms"] is None
    assert document["best"]["ratio_interval"] is None
    assert document["dense"]["measured_ms"] is None


def test_a_relative_budget_is_a_share_of_dense(recorded: str) -> None:
    document, front = (
        api.show_study("budget", storage=recorded).to_json(),
        api.pareto("budget", storage=recorded).to_json(),
    )
    assert front["budget"] == "80%"
    assert front["budget_ms"] == pytest.approx(0.8 * front["dense_predicted_ms"])
    assert document["budget_ms"] == pytest.approx(front["budget_ms"])
    assert document["best"]["predicted_ms"]["upper"] <= document["budget_ms"]


def test_the_front_is_of_trained_candidates_that_nothing_beats(recorded: str) -> None:
    points = api.show_study("budget", storage=recorded).to_json()["front"]
    trained = [t for t in Store(recorded).trials("budget") if t.val_accuracy is not None]
    shown = {point["trial"] for point in points}
    assert shown
    for trial in trained:
        beaten = any(
            other.val_accuracy > trial.val_accuracy and other.predicted["p95"] < trial.predicted["p95"]
            for other in trained
        )
        assert (trial.number in shown) != beaten
    by_latency = sorted(points, key=lambda point: point["predicted_ms"]["p95"])
    assert [point["val_accuracy"] for point in by_latency] == sorted(point["val_accuracy"] for point in points)


@pytest.mark.parametrize("budget", ["80%", "55%", "0.2ms", "1us"])
def test_another_budget_chooses_among_what_is_stored(recorded: str, budget: str) -> None:
    document, trials = (
        api.pareto("budget", latency_budget=budget, storage=recorded).to_json(),
        Store(recorded).trials("budget"),
    )
    possible = within(trials, document["budget_ms"])
    best = document["best_predicted"]
    if not possible:
        assert best is None
    else:
        assert best["trial"] in possible
        assert best["val_accuracy"] == max(t.val_accuracy for t in trials if t.number in possible)


def test_a_finalist_over_another_budget_is_the_closest_and_not_the_best(recorded: str) -> None:
    document = api.pareto("budget", latency_budget="10%", storage=recorded).to_json()
    assert document["best_measured"] is None
    assert document["closest_measured"]["trial"] == Store(recorded).finalists("budget")[0].trial
    assert not document["closest_measured"]["meets_budget"]


def test_a_drop_is_judged_against_the_accuracy_of_dense(recorded: str) -> None:
    document = api.show_study("largest drop", storage=recorded).to_json()
    assert document["budget_ms"] is None
    assert document["best"]["val_accuracy"] >= document["dense"]["val_accuracy"] - 0.20
    # The same finalist is not good enough for a smaller drop.
    execute(recorded, "update autogate_studies set config = replace(config, '20%', '1%') where name = 'largest drop'")
    stricter = api.show_study("largest drop", storage=recorded).to_json()
    assert stricter["best"] is None
    assert stricter["closest"]["trial"] == document["best"]["trial"]


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        ({"memory_budget": "50%"}, "the peak memory of study 'budget' was not observed; leave --memory-budget out"),
        ({"energy_budget": "50%"}, "the energy of study 'budget' was not measured: .*; leave --energy-budget out"),
    ],
)
def test_budgets_on_what_was_never_measured_are_refused(recorded: str, budget: dict[str, str], complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        api.pareto("budget", storage=recorded, **budget)


def test_trials_are_counted_by_outcome(recorded: str) -> None:
    counts = api.show_study("budget", storage=recorded).to_json()["trials"]
    trials = Store(recorded).trials("budget")
    assert counts.pop("total") == len(trials)
    assert counts == {outcome: sum(trial.outcome == outcome for trial in trials) for outcome in counts}


def test_studies_that_are_not_there_are_refused(recorded: str) -> None:
    for ask in (api.show_study, api.pareto, api.describe_study, api.history):
        with pytest.raises(StudyError, match="no study 'budgets' in .*; did you mean budget"):
            ask("budgets", storage=recorded)
