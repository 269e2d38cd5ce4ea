"""What operators take at the device's limits, and which limit binds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from autogate.records import DeviceCard, Operator, Setting

Regime = Literal["compute-bound", "bandwidth-bound", "launch-bound"]


@dataclass(frozen=True)
class Roofline:
    """Times at the device's limits, in milliseconds; each operator counts for the limit that binds it.

    Attributes:
        compute_ms: Operators bound by arithmetic.
        bandwidth_ms: Operators bound by memory.
        launch_ms: Operators that take no longer than the smallest one.
    """

    compute_ms: float
    bandwidth_ms: float
    launch_ms: float

    @property
    def total_ms(self) -> float:
        """Sum over all operators."""
        return self.compute_ms + self.bandwidth_ms + self.launch_ms

    @property
    def regime(self) -> Regime:
        """The limit that binds most of the time."""
        times: dict[Regime, float] = {
            "compute-bound": self.compute_ms,
            "bandwidth-bound": self.bandwidth_ms,
            "launch-bound": self.launch_ms,
        }
        return max(times, key=times.__getitem__)


def sum_of(parts: Iterable[tuple[Roofline, float]]) -> Roofline:
    """Return a roofline whose limits share the times, in milliseconds, of parts as the parts' own limits do."""
    compute = bandwidth = launch = 0.0
    for part, ms in parts:
        scale = ms / part.total_ms if part.total_ms else 0.0
        compute += scale * part.compute_ms
        bandwidth += scale * part.bandwidth_ms
        launch += scale * part.launch_ms
    return Roofline(compute, bandwidth, launch)


def roofline(operators: Sequence[Operator], card: DeviceCard, setting: Setting) -> Roofline:
    """Return the times of operators at the limits that the device card knows."""
    bound = [0.0, 0.0, 0.0]
    for operator in operators:
        limits = (
            2 * operator.macs / (card.matmul_tflops[setting.dtype] * 1e9),
            operator.moved_bytes / (card.copy_gb_per_s * 1e6),
            card.launch_us * 1e-3,
        )
        slowest = max(limits)
        bound[limits.index(slowest)] += slowest
    return Roofline(*bound)
