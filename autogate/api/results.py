"""What the functions return: small frozen results, each of which can be written as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Result:
    """A result.

    Attributes:
        document: Its content, as the command line prints it with ``--format json``.
    """

    document: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON-ready document."""
        return dict(self.document)


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


@dataclass(frozen=True)
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
        """Return the result as one JSON-ready document."""
        return {**self.document, "predicted_ms": self.latency_ms.tolist()}


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
class StudySummary(Result):
    """One line about a study."""

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self.document["study"])

    @property
    def trials(self) -> int:
        """Trials that ended, without failed ones."""
        return int(self.document["trials"])

    @property
    def finalists(self) -> int:
        """Finalists that were measured."""
        return int(self.document["finalists"])


@dataclass(frozen=True)
class ParetoResult(Result):
    """The front of a study, and what is best on it under budgets."""

    @property
    def front(self) -> tuple[Mapping[str, Any], ...]:
        """Trained candidates that no other beats, fastest first."""
        return tuple(self.document["front"])

    @property
    def best_predicted(self) -> Mapping[str, Any] | None:
        """The most accurate candidate that is predicted to be within the budgets."""
        found: Mapping[str, Any] | None = self.document["best_predicted"]
        return found

    @property
    def best_measured(self) -> Mapping[str, Any] | None:
        """The best finalist that measured within the budgets."""
        found: Mapping[str, Any] | None = self.document["best_measured"]
        return found


@dataclass(frozen=True)
class ReachResult(Result):
    """What a search could reach, found out without training."""

    @property
    def reachable(self) -> bool:
        """Whether some policy meets the budgets, by prediction."""
        return bool(self.document["reachable"])

    @property
    def dense_ms(self) -> float:
        """Predicted latency of the dense network, in milliseconds."""
        return float(self.document["dense_ms"])

    @property
    def fastest_ms(self) -> float:
        """Lowest predicted latency of the search space, in milliseconds."""
        return float(self.document["lightest_ms"])


@dataclass(frozen=True)
class ExportReport(Result):
    """What was exported, and how it was verified."""

    @property
    def test_accuracy(self) -> float:
        """Accuracy on test images, as a fraction."""
        return float(self.document["result"]["test_accuracy"])

    @property
    def max_difference(self) -> float:
        """Largest difference of a logit between the exported and the live network, on real images."""
        return float(self.document["verified"]["max_difference"])
