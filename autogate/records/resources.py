"""What networks take besides time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory of one forward pass, dense and gated.

    Attributes:
        dense_bytes: The dense network.
        gated_bytes: The gated network.
    """

    dense_bytes: int
    gated_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the record, and gated over dense, as JSON-ready data."""
        return {**asdict(self), "ratio": self.gated_bytes / self.dense_bytes}


@dataclass(frozen=True)
class EnergyComparison:
    """Energy per image of dense and gated, measured interleaved in one run.

    Attributes:
        dense_joules_per_image: The dense network, as the mean over its windows.
        gated_joules_per_image: The same for the gated network.
        gated_interval: 95 % interval of the gated network's mean.
        ratio: Gated over dense, as the mean over pairs of windows.
        ratio_interval: 95 % interval of the ratio.
        windows: Windows of each network.
    """

    dense_joules_per_image: float
    gated_joules_per_image: float
    gated_interval: tuple[float, float]
    ratio: float
    ratio_interval: tuple[float, float]
    windows: int

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready data."""
        return {
            **asdict(self),
            "gated_interval": list(self.gated_interval),
            "ratio_interval": list(self.ratio_interval),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EnergyComparison:
        """Rebuild the record from :meth:`to_json`."""
        return cls(
            **{**data, "gated_interval": tuple(data["gated_interval"]), "ratio_interval": tuple(data["ratio_interval"])}
        )
