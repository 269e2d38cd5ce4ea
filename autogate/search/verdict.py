"""Which measured finalist wins; plain data, so that a stored study can be judged again without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autogate.records import Comparison, FinalistRecord, TrialRecord
from autogate.units import LatencyBudget


@dataclass(frozen=True)
class Verdict:
    """Whether a measured finalist meets the budget.

    Attributes:
        met: Whether the upper end of the 95 % interval is within the budget.
        over: How far that end is above the budget, relative to it; at most 0 if met.

    Where the target is not at hand, the interval is that of the prediction.
    """

    met: bool
    over: float


def judge(finalist: FinalistRecord, budget: LatencyBudget | None) -> Verdict:
    """Decide on the finalist's own interleaved run: by the ratio to dense for a relative budget."""
    if budget is None:
        return Verdict(True, 0.0)
    if budget.fraction is not None and finalist.policy.is_dense:
        over = 1 / budget.fraction - 1  # nothing to measure: it is as fast as itself
    elif finalist.comparison is not None:
        over = excess(finalist.comparison, budget)
    else:
        over = finalist.predicted["upper"] / budget.limit_ms(finalist.predicted["dense"]) - 1
    return Verdict(over <= 0, over)


def excess(comparison: Comparison, budget: LatencyBudget | None) -> float:
    """Return how far the upper end of a measured interval is above the budget, relative to it."""
    if budget is None:
        return 0.0
    if budget.fraction is not None:
        return comparison.ratio_interval[1] / budget.fraction - 1
    assert budget.absolute_ms is not None  # noqa: S101 - a budget is one or the other
    return comparison.gated.interval[1] / budget.absolute_ms - 1


def choose_best(
    finalists: list[FinalistRecord], budget: LatencyBudget | None, floor: float | None, tolerance: float = 0.0
) -> tuple[FinalistRecord | None, FinalistRecord | None]:
    """Return the winner among measured finalists; without one, None and the finalist that came closest.

    The most accurate finalist within the budget wins; among those within ``tolerance`` of it, the fastest. Under
    a lowest accuracy ``floor``, the fastest one that keeps it. A gated finalist that is no faster than dense never
    wins; dense itself may, where it was made a finalist.
    """
    met = [f for f in finalists if accepted(f, budget, floor)]
    lowest = floor if floor is not None else max((f.val_accuracy for f in met), default=0.0) - tolerance
    winner = min((f for f in met if f.val_accuracy >= lowest), key=lambda f: f.ratio, default=None)
    if winner is not None:
        return winner, None
    return None, min(finalists, key=lambda f: judge(f, budget).over, default=None)


def accepted(finalist: FinalistRecord, budget: LatencyBudget | None, floor: float | None) -> bool:
    """Whether a finalist could win: within the budget, faster than dense, and not below ``floor``."""
    in_time = judge(finalist, budget).met and (finalist.ratio < 1 or finalist.policy.is_dense)
    return in_time and (floor is None or finalist.val_accuracy >= floor)


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
