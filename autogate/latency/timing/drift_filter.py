"""Tell what the networks take from what the machine was doing meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autogate.latency.hardware import device_state, noise_sources
from autogate.records import MIXED, Profile

# A group this much slower than the quiet ones was disturbed: by another process, or a lower clock.
_DISTURBED = 1.10
_QUIET_QUANTILE = 0.25
_MIN_KEPT = 3
_REFINED = 4
TOO_NOISY = 0.25
_RESAMPLES = 200


@dataclass(frozen=True)
class Steady:
    """Passes of networks that ran in turns, as on an undisturbed machine.

    Attributes:
        kept: Which passes were not disturbed, bool ``[networks, rounds]``.
        slowdown: How much slower than usual the machine was meanwhile, for all networks alike, ``[networks, rounds]``.
    """

    kept: np.ndarray
    slowdown: np.ndarray

    def of(self, network: int, times_ms: np.ndarray) -> np.ndarray:
        """Return the kept ones of times of a network, or of a part of it, ``[rounds]``, with the slowness taken out."""
        kept = self.kept[network]
        stationary: np.ndarray = times_ms[kept] / self.slowdown[network, kept]
        return stationary

    def medians(self, times_ms: np.ndarray) -> np.ndarray:
        """Return the median of each network's kept times, ``[networks]``, from ``[networks, rounds]``."""
        return np.array([np.median(self.of(network, row)) for network, row in enumerate(times_ms)])


def stationary(times_ms: np.ndarray, groups: np.ndarray, throttled: np.ndarray | None = None) -> Steady:
    """Find disturbed passes in times of networks, ``[networks, rounds]``: what a group shares is the machine.

    Args:
        times_ms: What each pass took.
        groups: Passes that ran one after the other have the same number, ``[networks, rounds]``.
        throttled: Passes to leave out because the device was throttled, bool ``[networks, rounds]``; a network of which
            fewer than three were not keeps them all the same.
    """
    by_group = np.argsort(groups, axis=None, kind="stable")
    members = np.split(by_group, np.flatnonzero(np.diff(groups.flat[by_group])) + 1)
    slowdown = np.ones(times_ms.shape)
    # Each is known the better, the better the other is: the networks' usual times and the groups' slowness.
    for _ in range(_REFINED):
        relative = times_ms / np.median(times_ms / slowdown, axis=1, keepdims=True)
        for group in members:
            slowdown.flat[group] = np.median(relative.flat[group])
    # Each network keeps some passes, even if all were made while the machine was slow.
    fewest = np.sort(slowdown, axis=1)[:, :_MIN_KEPT][:, -1:]
    quiet = np.maximum(_DISTURBED * np.quantile(slowdown, _QUIET_QUANTILE), fewest)
    kept = slowdown <= quiet
    if throttled is not None:
        cool = kept & ~throttled
        kept = np.where(cool.sum(axis=1, keepdims=True) >= _MIN_KEPT, cool, kept)
    return Steady(kept, slowdown / np.median(slowdown[kept]))


def median_iqr(times_ms: np.ndarray) -> tuple[float, float]:
    """Return the median and the interquartile range."""
    low, median, high = np.percentile(times_ms, [25, 50, 75])
    return float(median), float(high - low)


def median_interval(times_ms: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    rows = np.random.default_rng(0).integers(0, len(times_ms), (_RESAMPLES, len(times_ms)))
    low, high = np.percentile(np.median(times_ms[rows], axis=1), [2.5, 97.5])
    return float(low), float(high)


def spread(found: Iterable[tuple[float, float]]) -> float:
    """Return the interquartile range over the median, as the median over networks, from both of each network."""
    return float(np.median([iqr / median for median, iqr in found]))


def noise_reason(
    profile: Profile, *, state_of: Callable[[torch.device], Mapping[str, Any]] = device_state
) -> str | None:
    """Return what is wrong if times of one network spread by more than a quarter, and what disturbs them; else None.

    Args:
        profile: The profile.
        state_of: Returns the state of a device as it is now.
    """
    found = spread((s.ms, s.iqr_ms) for s in profile.networks if s.phase == MIXED)
    if found <= TOO_NOISY:
        return None
    return f"times of one network spread by {found:.0%} ({noise_sources(profile, state_of=state_of)})"
