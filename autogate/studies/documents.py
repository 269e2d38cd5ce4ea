"""A study as one JSON document, made from the database alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autogate.errors import StudyError
from autogate.goals import Budgets, LatencyBudget, MemoryBudget, SearchConfig, binds, choose_best, judge, standard_error
from autogate.policy import Policy
from autogate.records import Comparison, FinalistRecord, StudyFacts, TrialRecord
from autogate.store import Store, StudyRecord
from autogate.studies.front import pareto_front

SCHEMA = "autogate.search/1"


def search_document(store: Store, study: str, budgets: Budgets | None = None) -> dict[str, Any]:
    """Return the document of a study.

    Args:
        store: The study database.
        study: Name of the study.
        budgets: Budgets to judge by instead of the study's own.

    Raises:
        StudyError: If there is no such study.
    """
    record = store.study(study)
    config, facts = record.config, record.facts
    budgets = budgets or config.budgets
    trials = store.trials(study)
    finalists = store.finalists(study)
    best, closest = choose(finalists, budgets, record)
    floor = floor_of(record.config, record.facts)
    shown = best or closest
    measured = None if shown is None else shown.comparison
    target = facts.target
    return {
        "schema": SCHEMA,
        "study": study,
        "storage": store.shown_url,
        "device": device_name(facts),
        "batch_size": config.batch_size,
        "dtype": config.dtype,
        "runtime": None if target is None else target.setting.runtime,
        "runtimes": [asdict(one) for one in facts.runtimes],
        "budget_ms": _budget_ms(budgets.latency, shown, facts),
        "budget_ms_search": None if target is None else target.budget_ms,
        "budget_binding": None if target is None else target.budget_binding,
        "memory_budget_bytes": memory_budget_bytes(budgets, facts),
        "energy_budget": None if budgets.energy is None else budgets.energy.text,
        "latency_stat": config.latency_stat,
        "label": latency_label(facts),
        "dense": _dense_document(facts, measured),
        "best": None if best is None else finalist_document(best, budgets, floor),
        "closest": None if closest is None else finalist_document(closest, budgets, floor),
        "front": [point_document(t, finalists) for t in pareto_front(trials, config.latency_stat)],
        "left_out": [] if target is None else list(target.unpaying_gates),
        "trials": store.count_trials(study),
        "seconds": dict(facts.stage_seconds or {}),
    }


def device_name(facts: StudyFacts) -> str | None:
    """Return the name of the device that a study is for, if it is known yet."""
    return None if facts.target is None else facts.target.setting.device_name


def latency_label(facts: StudyFacts) -> str:
    """Return ``predicted`` if the study's device is another one than it ran on, else ``measured``."""
    return "predicted" if facts.target is not None and facts.target.foreign else "measured"


def choose(
    finalists: list[FinalistRecord], budgets: Budgets, record: StudyRecord
) -> tuple[FinalistRecord | None, FinalistRecord | None]:
    """Return the winner under ``budgets``, or None and the finalist that came closest."""
    target = record.facts.target
    current = [f for f in finalists if target is not None and f.profile == target.profile]
    return choose_best(current, budgets, floor_of(record.config, record.facts), _tolerance(record.facts, budgets))


def floor_of(config: SearchConfig, facts: StudyFacts) -> float | None:
    """Return the lowest validation accuracy the study allows, or None."""
    return None if facts.dense is None else config.goal.floor(facts.dense.val_accuracy)


def _tolerance(facts: StudyFacts, budgets: Budgets) -> float:
    """Return by how much accuracies may differ and still count as equal: not at all under a budget that binds."""
    target, dense = facts.target, facts.dense
    if target is None or dense is None or facts.task is None:
        return 0.0
    if binds(budgets, target.dense_latency_ms, dense.peak_memory_bytes):
        return 0.0
    return standard_error(dense.val_accuracy, facts.task.val_images)


def _dense_document(facts: StudyFacts, measured: Comparison | None) -> dict[str, Any] | None:
    if facts.dense is None:
        return None
    return {**asdict(facts.dense), "measured_ms": None if measured is None else measured.dense.to_json()}


def _budget_ms(budget: LatencyBudget | None, shown: FinalistRecord | None, facts: StudyFacts) -> float | None:
    """The budget in milliseconds; a relative one refers to the dense latency measured with the winner."""
    if budget is None:
        return None
    if shown is not None and shown.comparison is not None:
        return budget.limit_ms(shown.comparison.dense.p50)
    if budget.fraction is None:
        return budget.absolute_ms
    return None if facts.target is None else facts.target.budget_ms


def memory_budget_bytes(budgets: Budgets, facts: StudyFacts) -> float | None:
    """Return the memory budget in bytes; None without one, or where the peak of dense that it refers to is unknown."""
    dense_bytes = None if facts.dense is None else facts.dense.peak_memory_bytes
    if budgets.memory is None or (dense_bytes is None and budgets.memory.fraction is not None):
        return None
    return budgets.memory.limit_bytes(dense_bytes or 0)


def finalist_document(finalist: FinalistRecord, budgets: Budgets, floor: float | None) -> dict[str, Any]:
    """Return a finalist: its policy, its cost columns, its latency, predicted and measured, and its energy."""
    predicted, measured = finalist.predicted, finalist.comparison
    dense_ms = predicted["dense"] if measured is None else measured.dense.p50
    energy = None if measured is None else measured.energy
    return {
        "trial": finalist.trial,
        "policy_digest": finalist.policy.digest,
        "policy": finalist.policy.to_json(),
        "val_accuracy": finalist.val_accuracy,
        "test_accuracy": finalist.test_accuracy,
        "peak_memory_bytes": None,
        "dense_peak_memory_bytes": None,
        **finalist.costs,
        "predicted_ms": {key: predicted[key] for key in ("p50", "p95", "upper")},
        "measured_ms": None if measured is None else measured.gated.to_json(),
        "dense_measured_ms": None if measured is None else measured.dense.to_json(),
        "ratio": finalist.ratio,
        "ratio_interval": None if measured is None else list(measured.ratio_interval),
        "energy": None if energy is None else energy.to_json(),
        "budget_ms": None if budgets.latency is None else budgets.latency.limit_ms(dense_ms),
        "meets_budget": judge(finalist, budgets, floor).accepted,
    }


def point_document(trial: TrialRecord, finalists: list[FinalistRecord]) -> dict[str, Any]:
    """Return a trained candidate: its accuracy, its predicted latency, its memory, and what its finalist measured."""
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
        "peak_memory_bytes": (trial.costs or {}).get("peak_memory_bytes"),
        "energy": None if measured is None or measured.energy is None else measured.energy.to_json(),
    }


def pareto_document(store: Store, study: str, budgets: Budgets | None = None) -> dict[str, Any]:
    """Return the front of a study, and what is best under budgets: its own, or others.

    The best by prediction is within the budgets of latency and memory; energy is known of finalists only.

    Args:
        store: The study database.
        study: Name of the study.
        budgets: Budgets to judge by instead of the study's own.

    Raises:
        StudyError: If there is no such study, or its memory or energy is to be judged and is not known.
    """
    record = store.study(study)
    config, facts = record.config, record.facts
    budgets = budgets or config.budgets
    document = search_document(store, study, budgets)
    dense_ms, latency = None if facts.target is None else facts.target.dense_latency_ms, budgets.latency
    limit_ms = None if latency is None or dense_ms is None else latency.limit_ms(dense_ms)
    trials, finalists = store.trials(study), store.finalists(study)
    _check_measured(study, budgets, trials, finalists)
    small = [trial for trial in trials if budgets.memory is None or _is_small(trial, budgets.memory, facts)]
    within = [point_document(trial, finalists) for trial in pareto_front(small, config.latency_stat)]
    return {
        "schema": "autogate.pareto/1",
        "study": study,
        "label": document["label"],
        "device": document["device"],
        "batch_size": document["batch_size"],
        "latency_stat": config.latency_stat,
        "dense_predicted_ms": dense_ms,
        "budget": None if latency is None else latency.text,
        "budget_ms": limit_ms,
        "memory_budget_bytes": document["memory_budget_bytes"],
        "energy_budget": document["energy_budget"],
        "front": document["front"],
        "best_predicted": best_within(within, limit_ms),
        "best_measured": document["best"],
        "closest_measured": document["closest"],
    }


def _check_measured(study: str, budgets: Budgets, trials: list[TrialRecord], finalists: list[FinalistRecord]) -> None:
    """Refuse budgets on what a study for another device, or one of an earlier version, does not know."""
    trained = [trial for trial in trials if trial.val_accuracy is not None]
    if budgets.memory is not None and trained and not any((t.costs or {}).get("peak_memory_bytes") for t in trained):
        raise StudyError(f"the peak memory of study {study!r} was not observed; leave --memory-budget out")
    if budgets.energy is not None and finalists and not any(f.comparison and f.comparison.energy for f in finalists):
        raise StudyError(
            f"the energy of study {study!r} was not measured: no GPU counted it; leave --energy-budget out"
        )


def _is_small(trial: TrialRecord, budget: MemoryBudget, facts: StudyFacts) -> bool:
    """Whether a candidate's peak memory is known to be within the budget."""
    peak_bytes = (trial.costs or {}).get("peak_memory_bytes")
    limit_bytes = memory_budget_bytes(Budgets(memory=budget), facts)
    return peak_bytes is not None and limit_bytes is not None and peak_bytes <= limit_bytes


def best_within(front: list[dict[str, Any]], limit_ms: float | None) -> dict[str, Any] | None:
    """Return the most accurate point of a front whose predicted upper bound is within the limit."""
    within = [point for point in front if limit_ms is None or point["predicted_ms"]["upper"] <= limit_ms]
    return max(within, key=lambda point: point["val_accuracy"], default=None)
