"""Separate the times of networks from disturbances of the machine while they were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from autogate.latency.hardware import device_state, noise_sources
from autogate.latency.timing.disturbance import FEWEST, TOO_NOISY
from autogate.records import MIXED, Profile

# A group this much slower than the quiet ones was disturbed, by another process or a lower clock.
_DISTURBED = 1.10
_QUIET_QUANTILE = 0.25
_REFINED = 4
_RESAMPLES = 200


@dataclass(frozen=True)
class Steady:
    """Which passes of networks that ran in turns were undisturbed, and how slow the machine was in each.

    Attributes:
        kept: Whether a pass was undisturbed, bool ``[networks, rounds]``.
        slowdown: Factor by which the machine was slower than usual in a pass, float64 ``[networks, rounds]``.
    """

    kept: np.ndarray
    slowdown: np.ndarray

    def of(self, network: int, times_ms: np.ndarray) -> np.ndarray:
        """Return undisturbed times of a network or a part of it, from ``[rounds]``, divided by the slowdown."""
        kept = self.kept[network]
        stationary: np.ndarray = times_ms[kept] / self.slowdown[network, kept]
        return stationary

    def medians(self, times_ms: np.ndarray) -> np.ndarray:
        """Return the median of each network's undisturbed times, ``[networks]``, from ``[networks, rounds]``."""
        return np.array([np.median(self.of(network, row)) for network, row in enumerate(times_ms)])


def stationary(
    times_ms: np.ndarray,
    groups: np.ndarray,
    throttled: np.ndarray | None = None,
    quiet: np.ndarray | None = None,
) -> Steady:
    """Find disturbed passes of networks; a slowdown that all passes of a group share comes from the machine.

    Args:
        times_ms: Time of each pass, in milliseconds, ``[networks, rounds]``.
        groups: Number of each pass's group, whose passes ran directly one after the other, ``[networks, rounds]``.
        throttled: Passes to leave out because the device was throttled, bool ``[networks, rounds]``; a network with
            fewer than three other passes keeps all of them.
        quiet: Passes that :func:`quiet_passes` takes for undisturbed, bool ``[networks, rounds]``, at least three of
            each network; the others are left out. None for all.
    """
    usable = np.ones(times_ms.shape, dtype=bool) if quiet is None else quiet
    by_group = np.argsort(groups, axis=None, kind="stable")
    members = np.split(by_group, np.flatnonzero(np.diff(groups.flat[by_group])) + 1)
    seen_ms, slowdown = np.where(usable, times_ms, np.nan), np.ones(times_ms.shape)
    # The networks' usual times and the groups' slowdowns are estimated in turns, each from the other.
    for _ in range(_REFINED):
        relative = seen_ms / np.nanmedian(seen_ms / slowdown, axis=1, keepdims=True)
        for group in members:
            if usable.flat[group].any():
                slowdown.flat[group] = np.nanmedian(relative.flat[group])
    # Each network keeps some passes, even if all were made while the machine was slow.
    fewest = np.sort(np.where(usable, slowdown, np.inf), axis=1)[:, :FEWEST][:, -1:]
    most = np.maximum(_DISTURBED * np.quantile(slowdown[usable], _QUIET_QUANTILE), fewest)
    kept = usable & (slowdown <= most)
    if throttled is not None:
        cool = kept & ~throttled
        kept = np.where(cool.sum(axis=1, keepdims=True) >= FEWEST, cool, kept)
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
    """Return the median over networks of IQR / median, from pairs (median, IQR)."""
    return float(np.median([iqr / median for median, iqr in found]))


def noise_reason(
    profile: Profile, *, state_of: Callable[[torch.device], Mapping[str, Any]] = device_state
) -> str | None:
    """Return why a profile is too noisy (IQR above a quarter of the median) and the likely cause, or None.

    Args:
        profile: The profile.
        state_of: Returns the current state of a device.
    """
    found = spread((s.ms, s.iqr_ms) for s in profile.networks if s.phase == MIXED)
    if found <= TOO_NOISY:
        return None
    return f"times of one network spread by {found:.0%} ({noise_sources(profile, state_of=state_of)})"
