"""How far above its prediction a latency may lie: split-conformal bounds."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

_LEVEL = 0.95


def is_enough(count: int, level: float = _LEVEL) -> bool:
    """Whether so many residuals bound a further one at this level, whatever their distribution."""
    return math.ceil((count + 1) * level) <= count


def upper_residual(residuals: np.ndarray, level: float = _LEVEL) -> float:
    """Return what a further residual exceeds with probability ``1 - level`` at most.

    With ``n`` residuals of networks that the prediction has not seen, it is the ``ceil((n + 1) * level)``-th smallest;
    that promise needs no assumption on their distribution. With fewer than ``level / (1 - level)`` of them it cannot
    be made: then it is at least the bound that normal residuals would have.

    Args:
        residuals: ``log(measured / predicted)``, float64 ``[n]``.
        level: Probability in (0, 1).
    """
    n = len(residuals)
    if is_enough(n, level):
        return float(np.sort(residuals)[math.ceil((n + 1) * level) - 1])
    spread = float(residuals.std(ddof=1)) * math.sqrt(1 + 1 / n)
    normal = float(residuals.mean()) + float(stats.t.ppf(level, n - 1)) * spread
    return max(float(residuals.max()), normal)
