"""What functions about studies and their database return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autogate.api.results import Result
from autogate.records import FrontRecord


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
        """Candidates that were fully trained."""
        return int(self.document["finalists"])

    @property
    def goal(self) -> str:
        """What it looks for, in a few words."""
        return str(self.document["goal"])

    @property
    def model(self) -> str:
        """Name of its network."""
        return str(self.document["model"])


@dataclass(frozen=True)
class StudyDescription(StudySummary):
    """A study with its origin, its configuration and its size."""

    @property
    def device(self) -> str | None:
        """Name of its target; None before it was profiled."""
        found: str | None = self.document["device"]
        return found

    @property
    def label(self) -> str:
        """Whether its latencies are ``measured`` or only ``predicted``."""
        return str(self.document["label"])

    @property
    def hypervolume(self) -> float | None:
        """Area under its front; None before the first trial."""
        found: float | None = self.document["hypervolume"]
        return found

    @property
    def weights_bytes(self) -> int:
        """Size of its weights, in bytes."""
        return int(self.document["weights_bytes"])

    @property
    def config(self) -> Mapping[str, Any]:
        """Its resolved configuration."""
        found: Mapping[str, Any] = self.document["config"]
        return found


@dataclass(frozen=True)
class StudyReport(Result):
    """A study with its front and its winner."""

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The winner among the finalists, or None if none meets the budgets."""
        found: Mapping[str, Any] | None = self.document["best"]
        return found

    @property
    def closest(self) -> Mapping[str, Any] | None:
        """The finalist that comes closest, where none meets the budgets."""
        found: Mapping[str, Any] | None = self.document["closest"]
        return found

    @property
    def front(self) -> tuple[Mapping[str, Any], ...]:
        """Trained candidates that no other beats, fastest first."""
        return tuple(self.document["front"])


@dataclass(frozen=True)
class History(Result):
    """What a study had reached after each trial, by prediction and short training."""

    @property
    def points(self) -> tuple[FrontRecord, ...]:
        """One record per trial, in the order in which they ended."""
        return tuple(FrontRecord(**{**point, "front": tuple(point["front"])}) for point in self.document["points"])


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


@dataclass(frozen=True)
class ReplayResult(Result):
    """What the replay of a recorded study reached."""

    @property
    def study(self) -> str:
        """Name of the replay."""
        return str(self.document["study"])

    @property
    def best_trial(self) -> int | None:
        """Number of the best candidate within the budget, if any."""
        found: int | None = self.document["best_trial"]
        return found

    @property
    def best_val_accuracy(self) -> float | None:
        """Its accuracy on validation images, as a fraction."""
        found: float | None = self.document["best_val_accuracy"]
        return found

    @property
    def hypervolume(self) -> float:
        """Area under the front."""
        return float(self.document["hypervolume"])

    @property
    def seconds(self) -> float:
        """Time that it took, in seconds."""
        return float(self.document["seconds"])


@dataclass(frozen=True)
class StudyCopy(Result):
    """A study that was copied to another database."""

    @property
    def name(self) -> str:
        """Its name there."""
        return str(self.document["name"])

    @property
    def to(self) -> str:
        """URL of the other database, without a password."""
        return str(self.document["to"])


@dataclass(frozen=True)
class StudyFile(Result):
    """A study that was written to a file, or read from one."""

    @property
    def study(self) -> str:
        """Name of the study."""
        return str(self.document["study"])

    @property
    def file(self) -> str:
        """Path of the file."""
        return str(self.document["file"])


@dataclass(frozen=True)
class DatabaseUpgrade(Result):
    """A database whose schema was brought up to date."""

    @property
    def before(self) -> int:
        """Its schema before."""
        return int(self.document["from"])

    @property
    def after(self) -> int:
        """Its schema now."""
        return int(self.document["to"])


@dataclass(frozen=True)
class VacuumResult(Result):
    """What was removed from a database."""

    @property
    def evaluations(self) -> int:
        """Number of evaluations."""
        return int(self.document["evaluations"])

    @property
    def policies(self) -> int:
        """Number of policies."""
        return int(self.document["policies"])

    @property
    def weights(self) -> int:
        """Number of files of weights."""
        return int(self.document["weights"])

    @property
    def weights_bytes(self) -> int:
        """Their size, in bytes."""
        return int(self.document["weights_bytes"])
