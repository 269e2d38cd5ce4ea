"""Tell what the networks take from what the machine was doing meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from autogate.latency.machine import device_state
from autogate.records import MIXED, Profile

# A round this much slower than the quiet ones was disturbed: by another process, or a lower clock.
_DISTURBED = 1.10
_QUIET_QUANTILE = 0.25
_MIN_KEPT = 3
_TOO_NOISY = 0.25
_RESAMPLES = 200


@dataclass(frozen=True)
class Steady:
    """Times of rounds in which every network ran once, as on an undisturbed machine.

    Attributes:
        kept: The rounds that were not disturbed, bool ``[rounds]``.
        slowness: How much slower than usual each kept round was for all networks alike, ``[kept rounds]``.
    """

    kept: np.ndarray
    slowness: np.ndarray

    def of(self, times_ms: np.ndarray) -> np.ndarray:
        """Return times, ``[..., rounds]``, of the kept rounds with their slowness taken out."""
        steady: np.ndarray = times_ms[..., self.kept] / self.slowness
        return steady


def steady(times_ms: np.ndarray) -> Steady:
    """Find disturbed rounds in times of networks, ``[networks, rounds]``: what they share is the machine."""
    slowness = np.median(times_ms / np.median(times_ms, axis=1, keepdims=True), axis=0)
    quiet = max(np.quantile(slowness, _QUIET_QUANTILE), np.sort(slowness)[:_MIN_KEPT][-1] / _DISTURBED)
    kept = slowness <= _DISTURBED * quiet
    return Steady(kept, slowness[kept] / np.median(slowness[kept]))


def median_iqr(times_ms: np.ndarray) -> tuple[float, float]:
    """Return the median and the interquartile range."""
    low, median, high = np.percentile(times_ms, [25, 50, 75])
    return float(median), float(high - low)


def median_interval(times_ms: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    rows = np.random.default_rng(0).integers(0, len(times_ms), (_RESAMPLES, len(times_ms)))
    low, high = np.percentile(np.median(times_ms[rows], axis=1), [2.5, 97.5])
    return float(low), float(high)


def too_noisy(profile: Profile) -> str | None:
    """Return what is wrong if times of one network spread by more than a quarter, and what disturbs them; else None."""
    spread = float(np.median([s.iqr_ms / s.ms for s in profile.networks if s.phase == MIXED]))
    if spread <= _TOO_NOISY:
        return None
    state = device_state(torch.device(profile.setting.device))
    seen = [f"running beside: {', '.join(state['busiest'])}"] if state.get("busiest") else []
    seen += [name.replace("_", " ") for name in ("throttled", "power_capped") if state.get(name)]
    return f"times of one network spread by {spread:.0%}" + (f" ({'; '.join(seen)})" if seen else "")
