"""Latencies, predicted and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from autogate.records.profiles import Setting
from autogate.records.resources import EnergyComparison

ExecutionPlan = Mapping[str, str]
"""Which executor runs at a site, where it is not the default one; executors give equal output."""
LatencyStat = Literal["mean", "p50", "p95", "max"]


@dataclass(frozen=True)
class Estimate:
    """A predicted latency in milliseconds: statistics over inputs, and bounds on each.

    Attributes:
        mean: Mean over inputs.
        p50: Median over inputs.
        p95: 95th percentile over inputs.
        max: Slowest input.
        error: By which share the latency exceeds its prediction with a probability of 5 % at most.
    """

    mean: float
    p50: float
    p95: float
    max: float
    error: float

    def stat(self, name: LatencyStat) -> float:
        """Return one statistic over inputs, in milliseconds."""
        return float(getattr(self, name))

    def upper(self, name: LatencyStat) -> float:
        """Return the one-sided 95 % upper bound of a statistic, in milliseconds."""
        return self.stat(name) * (1.0 + self.error)


@dataclass(frozen=True)
class Measurement:
    """A measured latency in milliseconds: statistics over inputs of each input's median over repeats.

    Attributes:
        mean: Mean over inputs.
        p50: Median over inputs.
        p95: 95th percentile over inputs.
        max: Slowest input.
        interval: 95 % bootstrap interval of the statistic the budget binds.
        inputs: Number of different inputs.
        repeats: Repeats of each input.
        pass_p90: 90th percentile over single passes of all inputs; None where it was not kept.
        pass_p99: The 99th likewise.
    """

    mean: float
    p50: float
    p95: float
    max: float
    interval: tuple[float, float]
    inputs: int
    repeats: int
    pass_p90: float | None = None
    pass_p99: float | None = None

    def stat(self, name: LatencyStat) -> float:
        """Return one statistic over inputs, in milliseconds."""
        return float(getattr(self, name))

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {**known, "interval": list(self.interval)}


@dataclass(frozen=True)
class Comparison:
    """Dense and gated, measured interleaved in one run.

    Attributes:
        dense: The dense network.
        gated: The gated network.
        ratio: Gated over dense, of the chosen statistic.
        ratio_interval: 95 % bootstrap interval of the ratio.
        setting: How both ran.
        energy: Energy per image of both; None where the device does not count it.
    """

    dense: Measurement
    gated: Measurement
    ratio: float
    ratio_interval: tuple[float, float]
    setting: Setting
    energy: EnergyComparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {
            "dense": self.dense.to_json(),
            "gated": self.gated.to_json(),
            "ratio": self.ratio,
            "ratio_interval": list(self.ratio_interval),
            "setting": self.setting.to_json(),
            "energy": None if self.energy is None else self.energy.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        """Rebuild the record from :meth:`to_json`."""

        def measurement(part: Mapping[str, Any]) -> Measurement:
            return Measurement(**{**part, "interval": tuple(part["interval"])})

        energy = data.get("energy")
        return cls(
            measurement(data["dense"]),
            measurement(data["gated"]),
            float(data["ratio"]),
            (float(data["ratio_interval"][0]), float(data["ratio_interval"][1])),
            Setting.from_json(data["setting"]),
            None if energy is None else EnergyComparison.from_json(energy),
        )
