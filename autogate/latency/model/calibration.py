"""Correct what units add up to by what whole networks took, and bound how far off that may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from autogate.errors import ProfileError
from autogate.latency.model.operators import Regime
from autogate.records import NetworkSample

_LEVEL = 0.95
# What a gate adds to the units around it is about this share of a network's time, where networks spread by the other.
_PER_GATE = 0.003
_NOISE = 0.02

Kind = tuple[str, str]
"""A gate's family, and the kind of its site."""


def is_enough(count: int, level: float = _LEVEL) -> bool:
    """Whether ``count`` residuals bound a further one with probability ``level`` without assuming a distribution."""
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


MIN_NETWORKS = 6
_MIN_ERROR = 0.005


@dataclass(frozen=True)
class Calibration:
    """Latency of a whole network: ``offset_ms + slope * composed``, and what each gate of a kind adds.

    Attributes:
        offset_ms: Time outside the units, in milliseconds.
        slope: Factor by which times of units with marks between them differ from those of the whole network.
        kinds_ms: Time that a gate of each kind adds to what its unit shows, in milliseconds: what it does to the units
            around it.
        error: Relative error that a latency exceeds with a probability of at most 5 %.
        error_in: The same for networks of one regime, for regimes with enough networks.
    """

    offset_ms: float
    slope: float
    error: float
    error_in: Mapping[Regime, float]
    kinds_ms: Mapping[Kind, float] = field(default_factory=dict)

    @property
    def largest_error(self) -> float:
        """The relative error of the regime that is predicted worst."""
        return max(self.error, *self.error_in.values()) if self.error_in else self.error

    def whole_ms(self, composed_ms: np.ndarray) -> np.ndarray:
        """Return latencies, ``[...]``, from composed times, ``[...]``, in milliseconds."""
        whole: np.ndarray = self.offset_ms + self.slope * composed_ms
        return whole


def calibrate(
    networks: Sequence[NetworkSample],
    composed_ms: Callable[[NetworkSample], float],
    regime: Callable[[NetworkSample], Regime | None],
    kinds: Callable[[NetworkSample], Mapping[Kind, int]] = lambda _: {},
) -> Calibration:
    """Fit measured latencies of whole networks to latencies that were composed without those measurements.

    The bounds come from leaving each network out in turn, so that they hold for networks never seen.

    Args:
        networks: Whole networks that were measured.
        composed_ms: Composes the time of one from the units of the others, in milliseconds.
        regime: What limits most of its time, if that is known.
        kinds: How many gates of each kind one holds, of the kinds that are to have a time of their own.

    Raises:
        ProfileError: If there are too few networks.
    """
    if len(networks) < MIN_NETWORKS:
        raise ProfileError("the profile holds too few whole networks to calibrate; profile again for longer")
    x = np.array([composed_ms(network) for network in networks])
    y = np.array([network.ms for network in networks])
    held = [kinds(network) for network in networks]
    names = sorted({kind for one in held for kind in one})
    columns = np.column_stack([np.ones(len(x)), x, *([one.get(kind, 0) for one in held] for kind in names)])
    residuals = np.zeros(len(y))
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        predicted_ms = float(columns[i] @ _relative_fit(columns[others], y[others]))
        residuals[i] = math.log(y[i] / max(predicted_ms, 1e-9))
    offset_ms, slope, *kinds_ms = map(float, _relative_fit(columns, y))
    regimes = [regime(network) for network in networks]
    error_in: dict[Regime, float] = {}
    for one in {known for known in regimes if known is not None}:
        among = residuals[[other == one for other in regimes]]
        if is_enough(len(among)) and len(among) < len(residuals):
            error_in[one] = _error(among)
    return Calibration(offset_ms, slope, _error(residuals), error_in, dict(zip(names, kinds_ms, strict=True)))


def _error(residuals: np.ndarray) -> float:
    return max(math.expm1(upper_residual(residuals)), _MIN_ERROR)


def _relative_fit(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of relative errors, each row weighted by 1 / y; all but the first two columns count for little.

    Args:
        columns: Ones, composed times, and numbers of gates, ``[networks, columns]``.
        y: Measured times in milliseconds, ``[networks]``.

    Returns:
        A factor for each column, ``[columns]``.
    """
    little = np.zeros((columns.shape[1] - 2, columns.shape[1]))
    little[:, 2:] = np.eye(len(little)) * _NOISE / (_PER_GATE * np.median(y))
    a = np.concatenate([columns / y[:, None], little])
    b = np.concatenate([np.ones(len(y)), np.zeros(len(little))])
    found: np.ndarray = np.linalg.lstsq(a, b, rcond=None)[0]
    return found
