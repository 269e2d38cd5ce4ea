"""Which measured finalist wins; plain data, so that a stored study can be judged again without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autogate.goals.goal import Budgets, EnergyBudget, LatencyBudget, MemoryBudget
from autogate.records import Comparison, EnergyComparison, FinalistRecord, TrialRecord


@dataclass(frozen=True)
class Verdict:
    """Whether a measured finalist meets all budgets.

    Attributes:
        met: Whether peak memory, and the upper ends of the 95 % intervals of latency and energy, are within theirs.
        over: How far the worst of them is above its budget, relative to it; at most 0 if met.

    Where the target is not at hand, the latency's interval is that of the prediction.
    """

    met: bool
    over: float


def judge(finalist: FinalistRecord, budgets: Budgets) -> Verdict:
    """Decide on the finalist's own interleaved run: by the ratio to dense for a relative budget."""
    excesses = []
    if budgets.latency is not None:
        excesses.append(_latency_excess(finalist, budgets.latency))
    if budgets.memory is not None:
        excesses.append(_memory_excess(finalist, budgets.memory))
    if budgets.energy is not None:
        excesses.append(_energy_excess(finalist, budgets.energy))
    over = max(excesses, default=0.0)
    return Verdict(over <= 0, over)


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
    a lowest accuracy ``floor``, the fastest one that keeps it. A gated finalist that is no faster than dense never
    wins; dense itself may, where it was made a finalist.
    """
    met = [f for f in finalists if accepted(f, budgets, floor)]
    lowest = floor if floor is not None else max((f.val_accuracy for f in met), default=0.0) - tolerance
    winner = min((f for f in met if f.val_accuracy >= lowest), key=lambda f: f.ratio, default=None)
    if winner is not None:
        return winner, None
    return None, min(finalists, key=lambda f: judge(f, budgets).over, default=None)


def accepted(finalist: FinalistRecord, budgets: Budgets, floor: float | None) -> bool:
    """Whether a finalist could win: within all budgets, faster than dense, and not below ``floor``."""
    able = judge(finalist, budgets).met and (finalist.ratio < 1 or finalist.policy.is_dense)
    return able and (floor is None or finalist.val_accuracy >= floor)


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


def pareto_front(trials: list[TrialRecord], stat: str) -> list[TrialRecord]:
    """Return the trained candidates that no other beats in both accuracy and predicted latency, fastest first."""
    points = [t for t in trials if t.val_accuracy is not None and t.predicted is not None and t.policy is not None]
    points.sort(key=lambda t: ((t.predicted or {})[stat], -(t.val_accuracy or 0.0)))
    front: list[TrialRecord] = []
    for trial in points:
        if not front or (trial.val_accuracy or 0.0) > (front[-1].val_accuracy or 0.0):
            front.append(trial)
    return front
