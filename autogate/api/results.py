"""What functions about networks and devices return: small frozen results, each with its JSON document."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Result:
    """A result.

    Attributes:
        document: Its content, as the command line prints it in JSON.
    """

    document: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON-ready document, which the caller may change."""
        return copy.deepcopy(dict(self.document))


@dataclass(frozen=True)
class Prediction(Result):
    """Predicted latency of one policy."""

    @property
    def latency_ms(self) -> float:
        """Median over inputs, in milliseconds."""
        return float(self.document["predicted_ms"]["p50"])

    @property
    def upper_ms(self) -> float:
        """Upper bound of the statistic that the study's budget binds, in milliseconds."""
        return float(self.document["predicted_ms"]["upper"])

    @property
    def dense_ms(self) -> float:
        """Predicted latency of the dense network, in milliseconds."""
        return float(self.document["dense_ms"])

    @property
    def ratio(self) -> float:
        """Latency over that of dense."""
        return float(self.document["ratio"])

    @property
    def error(self) -> float:
        """By which share the latency exceeds its prediction with a probability of 5 % at most."""
        return float(self.document["error"])

    @property
    def unseen_share(self) -> float:
        """Share of the latency that comes from forms the profile has not seen."""
        return float(self.document["unseen_share"])


@dataclass(frozen=True, eq=False)
class Predictions(Result):
    """Predicted latencies of many policies.

    Attributes:
        latency_ms: Predicted latency of each policy in milliseconds, float64 ``[policies]``.
    """

    latency_ms: np.ndarray

    @property
    def decisions(self) -> dict[str, list[str]]:
        """Choices of each decision of the search space; a policy names one position per decision."""
        return dict(self.document["decisions"])

    @property
    def dense_ms(self) -> float:
        """Predicted latency of the dense network, in milliseconds."""
        return float(self.document["dense_ms"])

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON-ready document, which the caller may change."""
        return {**super().to_json(), "predicted_ms": self.latency_ms.tolist()}


@dataclass(frozen=True)
class RuntimeMeasurements(Result):
    """An exported network measured against dense in every runtime at hand."""

    @property
    def by_runtime(self) -> dict[str, Measurement]:
        """The measurement in each runtime in which there is one."""
        rows = self.document["runtimes"]
        return {row["runtime"]: Measurement(row["measurement"]) for row in rows if row["measurement"] is not None}


@dataclass(frozen=True)
class Measurement(Result):
    """An exported network measured against dense, interleaved."""

    @property
    def latency_ms(self) -> float:
        """Median over inputs of the gated network, in milliseconds."""
        return float(self.document["gated"]["p50"])

    @property
    def dense_ms(self) -> float:
        """Median over inputs of the dense network, in milliseconds."""
        return float(self.document["dense"]["p50"])

    @property
    def ratio(self) -> float:
        """Gated over dense latency."""
        return float(self.document["ratio"])

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """95 % interval of the ratio."""
        low, high = self.document["ratio_interval"]
        return float(low), float(high)

    @property
    def peak_memory_bytes(self) -> int | None:
        """Peak memory of one call of the gated network, in bytes."""
        memory = self.document["peak_memory"]
        return None if memory is None else int(memory["gated_bytes"])

    @property
    def dense_peak_memory_bytes(self) -> int | None:
        """Peak memory of one call of the dense network, in bytes."""
        memory = self.document["peak_memory"]
        return None if memory is None else int(memory["dense_bytes"])

    @property
    def energy_ratio(self) -> float | None:
        """Gated over dense energy per image; None where the device does not count it."""
        energy = self.document["energy"]
        return None if energy is None else float(energy["ratio"])


@dataclass(frozen=True)
class SiteInfo(Result):
    """A place in a network where a gate can stand, or channels that cannot be cut."""

    @property
    def name(self) -> str:
        """Name of the site, as policies use it."""
        return str(self.document["name"])

    @property
    def kind(self) -> str:
        """``block``, ``map`` or ``group``."""
        return str(self.document["kind"])

    @property
    def families(self) -> tuple[str, ...]:
        """Gate families that fit."""
        return tuple(self.document["families"])

    @property
    def reason(self) -> str:
        """Why no gate can stand there; empty for a site."""
        return str(self.document["reason"])


@dataclass(frozen=True)
class Explanation(Result):
    """Where the time of a network goes on a device, and what gates save there."""

    @property
    def dense_ms(self) -> float:
        """Predicted latency of the dense network, in milliseconds."""
        return float(self.document["dense_ms"])

    @property
    def units(self) -> tuple[Mapping[str, Any], ...]:
        """Time of each unit of the network: ``unit``, ``sites``, ``dense_ms``, ``share`` and ``regime``."""
        return tuple(self.document["units"])

    @property
    def gates(self) -> tuple[Mapping[str, Any], ...]:
        """Each gate at each site: ``site``, ``gate``, ``saved_ms``, ``saved_share``; ``reason`` if it saves none."""
        return tuple(self.document["gates"])


@dataclass(frozen=True)
class ValidationResult(Result):
    """How well a profile predicts networks that it has not seen."""

    @property
    def mape(self) -> float:
        """Mean absolute error, as a fraction of the measured latency."""
        return float(self.document["model"]["mape"])

    @property
    def spearman(self) -> float:
        """Rank correlation of predicted and measured latencies."""
        return float(self.document["model"]["spearman"])

    @property
    def coverage(self) -> float:
        """Share of the networks that are no slower than their 95 % bound."""
        return float(self.document["model"]["coverage"])

    @property
    def networks(self) -> int:
        """Number of networks that were measured."""
        return int(self.document["networks"])


@dataclass(frozen=True)
class SensitivityResult(Result):
    """Accuracy with gates at one place alone, by how much they prune."""

    @property
    def dense_accuracy(self) -> float:
        """Accuracy of the dense network on the same images, as a fraction."""
        return float(self.document["dense_accuracy"])

    @property
    def curves(self) -> tuple[Mapping[str, Any], ...]:
        """One curve per place and ratio: ``site``, ``ratio``, ``values`` and ``accuracies``."""
        return tuple(self.document["curves"])


@dataclass(frozen=True)
class DoctorReport(Result):
    """A machine, as it matters for measuring."""

    @property
    def quiet(self) -> bool:
        """Whether other work is little enough to measure."""
        return bool(self.document["quiet"])

    @property
    def cpu(self) -> str:
        """Name of the CPU."""
        return str(self.document["cpu"])

    @property
    def gpus(self) -> tuple[str, ...]:
        """Names of the GPUs."""
        return tuple(self.document["gpus"])

    @property
    def packages(self) -> Mapping[str, str | None]:
        """Versions of packages; None where one is not installed."""
        found: Mapping[str, str | None] = self.document["packages"]
        return found
