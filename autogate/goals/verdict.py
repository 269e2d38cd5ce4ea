"""Which measured finalist wins; plain data, so that a stored study can be judged again without torch."""

from __future__ import annotations

import math

from autogate.goals.goal import Budgets, EnergyBudget, LatencyBudget, MemoryBudget
from autogate.records import Comparison, EnergyComparison, FinalistRecord, Verdict


def judge(finalist: FinalistRecord, budgets: Budgets, floor: float | None = None) -> Verdict:
    """Return whether a finalist is an answer to budgets and a lowest accuracy ``floor``.

    A verdict that is stored with the finalist is taken if it answers the same question; else the finalist is judged by
    its own interleaved run, for a relative budget by the ratio to dense. A gated finalist that is no faster than dense
    is never accepted; dense itself may be, where it was made a finalist.
    """
    asked = _question(budgets, floor)
    if finalist.verdict is not None and finalist.verdict.question == asked:
        return finalist.verdict
    excesses = []
    if budgets.latency is not None:
        excesses.append(_latency_excess(finalist, budgets.latency))
    if budgets.memory is not None:
        excesses.append(_memory_excess(finalist, budgets.memory))
    if budgets.energy is not None:
        excesses.append(_energy_excess(finalist, budgets.energy))
    excess = max(excesses, default=0.0)
    able = excess <= 0 and (finalist.ratio < 1 or finalist.policy.is_dense)
    return Verdict(asked, excess <= 0, excess, able and (floor is None or finalist.val_accuracy >= floor))


def _question(budgets: Budgets, floor: float | None) -> str:
    asked = {"latency": budgets.latency, "memory": budgets.memory, "energy": budgets.energy}
    texts = [f"{what} {budget.text}" for what, budget in asked.items() if budget is not None]
    return ", ".join([*texts, *([] if floor is None else [f"accuracy {floor!r}"])])


def _latency_excess(finalist: FinalistRecord, budget: LatencyBudget) -> float:
    if budget.fraction is not None and finalist.policy.is_dense:
        return 1 / budget.fraction - 1  # nothing to measure: it is as fast as itself
    if finalist.comparison is not None:
        return latency_excess(finalist.comparison, budget)
    return finalist.predicted["upper"] / budget.limit_ms(finalist.predicted["dense"]) - 1


def _memory_excess(finalist: FinalistRecord, budget: MemoryBudget) -> float:
    peak_bytes = finalist.costs.get("peak_memory_bytes")
    if peak_bytes is None:
        return math.inf  # it was never observed
    return peak_bytes / budget.limit_bytes(finalist.costs["dense_peak_memory_bytes"]) - 1


def _energy_excess(finalist: FinalistRecord, budget: EnergyBudget) -> float:
    if budget.fraction is not None and finalist.policy.is_dense:
        return 1 / budget.fraction - 1
    return energy_excess(None if finalist.comparison is None else finalist.comparison.energy, budget)


def energy_excess(energy: EnergyComparison | None, budget: EnergyBudget) -> float:
    """Return how far the upper end of the measured interval is above the budget; without end if not measured."""
    if energy is None:
        return math.inf
    if budget.fraction is not None:
        return energy.ratio_interval[1] / budget.fraction - 1
    assert budget.absolute_joules is not None  # noqa: S101 - a budget is one or the other
    return energy.gated_interval[1] / budget.absolute_joules - 1


def latency_excess(comparison: Comparison, budget: LatencyBudget | None) -> float:
    """Return how far the upper end of a measured interval is above the budget, relative to it."""
    if budget is None:
        return 0.0
    if budget.fraction is not None:
        return comparison.ratio_interval[1] / budget.fraction - 1
    assert budget.absolute_ms is not None  # noqa: S101 - a budget is one or the other
    return comparison.gated.interval[1] / budget.absolute_ms - 1


def choose_best(
    finalists: list[FinalistRecord], budgets: Budgets, floor: float | None, tolerance: float = 0.0
) -> tuple[FinalistRecord | None, FinalistRecord | None]:
    """Return the winner among measured finalists; without one, None and the finalist that came closest.

    The most accurate finalist within all budgets wins; among those within ``tolerance`` of it, the fastest. Under
    a lowest accuracy ``floor``, the fastest one that keeps it.
    """
    verdicts = [judge(finalist, budgets, floor) for finalist in finalists]
    met = [finalist for finalist, verdict in zip(finalists, verdicts, strict=True) if verdict.accepted]
    lowest = floor if floor is not None else max((f.val_accuracy for f in met), default=0.0) - tolerance
    winner = min((f for f in met if f.val_accuracy >= lowest), key=lambda f: f.ratio, default=None)
    if winner is not None:
        return winner, None
    closest, _ = min(zip(finalists, verdicts, strict=True), key=lambda pair: pair[1].excess, default=(None, None))
    return None, closest


def binds(budgets: Budgets, dense_ms: float, dense_peak_bytes: float | None) -> bool:
    """Whether a budget rules dense out, or may: its energy is known only once it is measured."""
    slow = budgets.latency is None or dense_ms > budgets.latency.limit_ms(dense_ms)
    large = (
        budgets.memory is not None
        and dense_peak_bytes is not None
        and dense_peak_bytes > budgets.memory.limit_bytes(dense_peak_bytes)
    )
    return slow or large or budgets.energy is not None


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error of an accuracy measured on this many images; 0 for a score that is no fraction."""
    return math.sqrt(max(0.0, accuracy * (1 - accuracy) / images))
