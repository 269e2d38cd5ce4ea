"""Passes that had the cores to themselves, told from those during which other work took a core away."""

from __future__ import annotations

import numpy as np

# An interquartile range above this share of the median is never a property of a network.
TOO_NOISY = 0.25
# Passes this much slower than the quickest one were disturbed.
_DISTURBED = 1.25
FEWEST = 3


def quiet_passes(times_ms: np.ndarray) -> np.ndarray:
    """Return which passes of equal work were undisturbed, bool ``[..., passes]``; at least three of each row.

    Where times spread no more than a quiet machine's do, all were. Else those near the quickest were: other work makes
    passes slower, by up to a time slice of the scheduler, and never faster.

    Args:
        times_ms: Their times in milliseconds, float64 ``[..., passes]``; each row is work of its own.
    """
    low, median, high = np.percentile(times_ms, [25, 50, 75], axis=-1, keepdims=True)
    quickest = np.sort(times_ms, axis=-1)[..., :FEWEST]
    near = np.maximum(_DISTURBED * quickest[..., :1], quickest[..., -1:])
    quiet: np.ndarray = (high - low <= TOO_NOISY * median) | (times_ms <= near)
    return quiet
