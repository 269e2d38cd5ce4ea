"""How good predictions of latency are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

Latencies = np.ndarray
"""Latencies in milliseconds, float64 ``[networks]``."""
_BUDGETS = 200


@dataclass(frozen=True)
class Scores:
    """Errors relative to the measured latency, and agreement of the order.

    Attributes:
        mape: Mean absolute relative error.
        p95_ape: 95th percentile of it.
        bias: Mean relative error; positive if predictions are too high.
        within_5: Share of networks predicted within 5 %.
        within_10: Share of networks predicted within 10 %.
        spearman: Rank correlation.
        kendall: Kendall's tau-b.
        skill: One less the ratio of the mean absolute error to that of the best constant in hindsight; 0 where all
            networks are equally fast.
    """

    mape: float
    p95_ape: float
    bias: float
    within_5: float
    within_10: float
    spearman: float
    kendall: float
    skill: float


def score(predicted_ms: Latencies, measured_ms: Latencies) -> Scores:
    """Score predictions, ``[networks]`` each; networks must differ in measured latency."""
    relative = predicted_ms / measured_ms - 1
    wrong = np.abs(relative)
    of_constant = np.abs(best_constant(measured_ms) / measured_ms - 1).mean()
    ordered = bool(np.ptp(predicted_ms) > 0)
    return Scores(
        mape=float(wrong.mean()),
        p95_ape=float(np.percentile(wrong, 95)),
        bias=float(relative.mean()),
        within_5=float((wrong <= 0.05).mean()),
        within_10=float((wrong <= 0.10).mean()),
        # A constant orders nothing.
        spearman=float(stats.spearmanr(predicted_ms, measured_ms).statistic) if ordered else 0.0,
        kendall=float(stats.kendalltau(predicted_ms, measured_ms).statistic) if ordered else 0.0,
        skill=float(1 - wrong.mean() / of_constant) if of_constant > 0 else 0.0,
    )


def best_constant(measured_ms: Latencies) -> float:
    """Return the constant with the least mean absolute relative error: the median weighted by 1 / latency."""
    order = np.argsort(measured_ms)
    weights = np.cumsum(1 / measured_ms[order])
    return float(measured_ms[order][np.searchsorted(weights, weights[-1] / 2)])


def coverage(upper_ms: Latencies, measured_ms: Latencies) -> tuple[float, tuple[float, float]]:
    """Return the share of networks no slower than their upper bound, with its 95 % binomial interval."""
    covered = int((measured_ms <= upper_ms).sum())
    interval = stats.binomtest(covered, len(measured_ms)).proportion_ci(0.95)
    return covered / len(measured_ms), (float(interval.low), float(interval.high))


def budget_violations(upper_ms: Latencies, measured_ms: Latencies) -> tuple[float, float]:
    """Return the shares of budgets that are exceeded at all, and by more than 3 %, by what would be delivered.

    Budgets lie evenly between the smallest and the largest bound. For each, the slowest network whose upper bound
    meets it is delivered, as by a search that spends its whole budget on accuracy.
    """
    budgets = np.linspace(upper_ms.min(), upper_ms.max(), _BUDGETS)
    order = np.argsort(upper_ms)
    chosen = order[np.searchsorted(upper_ms[order], budgets, side="right") - 1]
    over = measured_ms[chosen] / budgets - 1
    return float((over > 0).mean()), float((over > 0.03).mean())
