"""Correct what units add up to by what whole networks took, and say how far off it may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autogate.errors import ProfileError
from autogate.latency.model.conformal import is_enough, upper_residual
from autogate.latency.model.device_limits import Regime
from autogate.records import NetworkSample

MIN_NETWORKS = 6
_MIN_ERROR = 0.005


@dataclass(frozen=True)
class Calibration:
    """Latency of a whole network: ``offset_ms + slope * composed``.

    Attributes:
        offset_ms: What it takes besides its units, in milliseconds.
        slope: What marks between units and the rest of the network change, as a factor.
        error: By which share a latency exceeds that with a probability of 5 % at most.
        error_in: The same among networks of one regime, where it differs and they are enough to say.
    """

    offset_ms: float
    slope: float
    error: float
    error_in: Mapping[Regime, float]

    def whole_ms(self, composed_ms: np.ndarray) -> np.ndarray:
        """Return latencies, ``[...]``, from composed times, ``[...]``, in milliseconds."""
        whole: np.ndarray = self.offset_ms + self.slope * composed_ms
        return whole


def calibrate(
    networks: Sequence[NetworkSample],
    composed_ms: Callable[[NetworkSample], float],
    regime: Callable[[NetworkSample], Regime | None],
) -> Calibration:
    """Fit whole networks to what is composed without their own samples.

    The bounds come from leaving each network out in turn, so that they hold for networks never seen.

    Args:
        networks: Whole networks that were measured.
        composed_ms: Composes the time of one from the units of the others, in milliseconds.
        regime: What limits most of its time, if that is known.

    Raises:
        ProfileError: If there are too few networks.
    """
    if len(networks) < MIN_NETWORKS:
        raise ProfileError("the profile holds too few whole networks to calibrate; profile again for longer")
    x = np.array([composed_ms(network) for network in networks])
    y = np.array([network.ms for network in networks])
    residuals = np.zeros(len(y))
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        offset_ms, slope = _relative_fit(x[others], y[others])
        residuals[i] = math.log(y[i] / max(offset_ms + slope * x[i], 1e-9))
    offset_ms, slope = _relative_fit(x, y)
    regimes = [regime(network) for network in networks]
    error_in: dict[Regime, float] = {}
    for one in {known for known in regimes if known is not None}:
        among = residuals[[other == one for other in regimes]]
        if is_enough(len(among)) and len(among) < len(residuals):
            error_in[one] = _error(among)
    return Calibration(offset_ms, slope, _error(residuals), error_in)


def _error(residuals: np.ndarray) -> float:
    return max(math.expm1(upper_residual(residuals)), _MIN_ERROR)


def _relative_fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares of relative errors: intercept and slope of y on x, each row weighted by 1 / y."""
    a = np.stack([1 / y, x / y], axis=1)
    offset, slope = np.linalg.lstsq(a, np.ones(len(y)), rcond=None)[0]
    return float(offset), float(slope)
