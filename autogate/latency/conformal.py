"""How far above its prediction a latency may lie: split-conformal bounds."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def upper_residual(residuals: np.ndarray, level: float = 0.95) -> float:
    """Return what a further residual exceeds with probability ``1 - level`` at most.

    With ``n`` residuals of networks that the prediction has not seen, it is the ``ceil((n + 1) * level)``-th smallest;
    that promise needs no assumption on their distribution. With fewer than ``level / (1 - level)`` of them it cannot
    be made: then it is at least the bound that normal residuals would have.

    Args:
        residuals: ``log(measured / predicted)``, float64 ``[n]``.
        level: Probability in (0, 1).
    """
    n = len(residuals)
    rank = math.ceil((n + 1) * level)
    if rank <= n:
        return float(np.sort(residuals)[rank - 1])
    spread = float(residuals.std(ddof=1)) * math.sqrt(1 + 1 / n)
    normal = float(residuals.mean()) + float(stats.t.ppf(level, n - 1)) * spread
    return max(float(residuals.max()), normal)
