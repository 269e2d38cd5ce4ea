"""A study as one JSON document, made from the database alone."""

from __future__ import annotations

from typing import Any

from autogate.policy import Policy
from autogate.records import FinalistRecord, TrialRecord
from autogate.search.config import SearchConfig
from autogate.search.verdict import accepted, choose_best, pareto_front, standard_error
from autogate.store import Store
from autogate.units import LatencyBudget, parse_drop

SCHEMA = "autogate.search/1"


def search_document(store: Store, study: str, budget: LatencyBudget | None = None) -> dict[str, Any]:
    """Return the document of a study.

    Args:
        store: The study database.
        study: Name of the study.
        budget: A budget to judge by instead of the study's own.

    Raises:
        StudyError: If there is no such study.
    """
    stored, facts = store.study(study)
    config = SearchConfig.model_validate(stored)
    budget = budget or config.budget
    trials = store.trials(study)
    finalists = store.finalists(study)
    best, closest = choose(finalists, budget, config, facts)
    floor = floor_of(config, facts)
    shown = best or closest
    measured = None if shown is None else shown.comparison
    setting = facts.get("setting", {})
    dense = facts.get("dense")
    return {
        "schema": SCHEMA,
        "study": study,
        "storage": store.shown_url,
        "device": setting.get("device_name"),
        "batch_size": config.batch_size,
        "dtype": config.dtype,
        "runtime": setting.get("runtime"),
        "budget_ms": _budget_ms(budget, shown, facts),
        "budget_ms_search": facts.get("budget_ms_search"),
        "budget_binding": facts.get("budget_binding"),
        "latency_stat": config.latency_stat,
        "label": "predicted" if facts.get("foreign") else "measured",
        "dense": None if dense is None else {
            **dense, "measured_ms": None if measured is None else measured.dense.to_json(),
        },
        "best": None if best is None else finalist_document(best, budget, floor),
        "closest": None if closest is None else finalist_document(closest, budget, floor),
        "front": [point_document(t, finalists) for t in pareto_front(trials, config.latency_stat)],
        "left_out": facts.get("left_out", []),
        "trials": store.count_trials(study),
        "seconds": facts.get("seconds", {}),
    }  # fmt: skip


def choose(
    finalists: list[FinalistRecord], budget: LatencyBudget | None, config: SearchConfig, facts: dict[str, Any]
) -> tuple[FinalistRecord | None, FinalistRecord | None]:
    """Return the winner under ``budget``, or None and the finalist that came closest."""
    current = [f for f in finalists if f.profile == facts.get("profile")]
    return choose_best(current, budget, floor_of(config, facts), tolerance_of(facts, budget))


def floor_of(config: SearchConfig, facts: dict[str, Any]) -> float | None:
    """Return the lowest validation accuracy the study allows, or None."""
    if config.max_drop is None or "dense" not in facts:
        return None
    return float(facts["dense"]["val_accuracy"]) - parse_drop(config.max_drop)


def tolerance_of(facts: dict[str, Any], budget: LatencyBudget | None) -> float:
    """Return by how much accuracies may differ and still count as equal: not at all under a budget that binds."""
    dense_ms = facts.get("dense_predicted_ms")
    if budget is None or dense_ms is None or "dense" not in facts or budget.limit_ms(dense_ms) < dense_ms:
        return 0.0
    return standard_error(facts["dense"]["val_accuracy"], facts["val_images"])


def _budget_ms(budget: LatencyBudget | None, shown: FinalistRecord | None, facts: dict[str, Any]) -> float | None:
    """The budget in milliseconds; a relative one refers to the dense network measured beside the winner."""
    if budget is None:
        return None
    if shown is not None and shown.comparison is not None:
        return budget.limit_ms(shown.comparison.dense.p50)
    return facts.get("budget_ms_search") if budget.fraction is not None else budget.absolute_ms


def finalist_document(finalist: FinalistRecord, budget: LatencyBudget | None, floor: float | None) -> dict[str, Any]:
    """Return a finalist: its policy, its cost columns, and its latency, predicted and measured."""
    predicted, measured = finalist.predicted, finalist.comparison
    dense_ms = predicted["dense"] if measured is None else measured.dense.p50
    return {
        "trial": finalist.trial,
        "policy_digest": finalist.policy.digest,
        "policy": finalist.policy.to_json(),
        "val_accuracy": finalist.val_accuracy,
        "test_accuracy": finalist.test_accuracy,
        **finalist.costs,
        "predicted_ms": {key: predicted[key] for key in ("p50", "p95", "upper")},
        "measured_ms": None if measured is None else measured.gated.to_json(),
        "dense_measured_ms": None if measured is None else measured.dense.to_json(),
        "ratio": finalist.ratio,
        "ratio_interval": None if measured is None else list(measured.ratio_interval),
        "budget_ms": None if budget is None else budget.limit_ms(dense_ms),
        "meets_budget": accepted(finalist, budget, floor),
    }


def point_document(trial: TrialRecord, finalists: list[FinalistRecord]) -> dict[str, Any]:
    """Return a trained candidate: its accuracy, its predicted latency, and what its finalist measured."""
    policy = trial.policy or Policy()
    finalist = next((f for f in finalists if f.policy.digest == policy.digest), None)
    measured = None if finalist is None else finalist.comparison
    predicted = trial.predicted or {}
    return {
        "trial": trial.number,
        "policy_digest": policy.digest,
        "val_accuracy": trial.val_accuracy,
        "predicted_ms": {key: predicted[key] for key in ("p50", "p95", "upper")},
        "measured_ms": None if measured is None else measured.gated.to_json(),
    }


def pareto_document(store: Store, study: str, budget: LatencyBudget | None = None) -> dict[str, Any]:
    """Return the front of a study, and what is best under a budget: its own, or another.

    Args:
        store: The study database.
        study: Name of the study.
        budget: A budget to judge by instead of the study's own.

    Raises:
        StudyError: If there is no such study.
    """
    stored, facts = store.study(study)
    config = SearchConfig.model_validate(stored)
    budget = budget or config.budget
    document = search_document(store, study, budget)
    dense_ms = facts.get("dense_predicted_ms")
    limit_ms = None if budget is None or dense_ms is None else budget.limit_ms(dense_ms)
    return {
        "schema": "autogate.pareto/1",
        "study": study,
        "label": document["label"],
        "device": document["device"],
        "batch_size": document["batch_size"],
        "latency_stat": config.latency_stat,
        "dense_predicted_ms": dense_ms,
        "budget": None if budget is None else budget.text,
        "budget_ms": limit_ms,
        "front": document["front"],
        "best_predicted": best_within(document["front"], limit_ms),
        "best_measured": document["best"],
        "closest_measured": document["closest"],
    }


def best_within(front: list[dict[str, Any]], limit_ms: float | None) -> dict[str, Any] | None:
    """Return the most accurate point of a front whose predicted upper bound is within the limit."""
    within = [point for point in front if limit_ms is None or point["predicted_ms"]["upper"] <= limit_ms]
    return max(within, key=lambda point: point["val_accuracy"], default=None)
