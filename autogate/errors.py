"""Every error a user can cause or meet, under one root.

Each message is one line that says what was wrong and what to do next. The command line prints it and
exits with the error's ``exit_code``.
"""

from __future__ import annotations


class AutoGateError(Exception):
    """Root of all errors AutoGate raises on purpose."""

    exit_code = 2


class UnitError(AutoGateError):
    """A quantity without a unit, with an unknown unit, or out of range."""


class ModelError(AutoGateError):
    """A network that is unknown, cannot be built, or cannot be traced."""


class WeightsError(AutoGateError):
    """Weights that are missing, corrupt, unsafe to load, or made for another network."""


class DataError(AutoGateError):
    """A dataset that is unknown, missing, empty or damaged."""


class SpaceError(AutoGateError):
    """A search space with an unknown key, family or value."""


class PolicyError(AutoGateError):
    """A policy that does not fit the network it is applied to."""


class DeviceError(AutoGateError):
    """A device that is not there or cannot be used as asked."""


class ProfileError(AutoGateError):
    """A latency profile that is damaged, foreign or incomplete."""


class UnprofiledGateError(ProfileError):
    """A profile does not hold a gate."""


class NoiseError(ProfileError):
    """Measurements that other work on the machine spoiled, again and again."""


class StudyError(AutoGateError):
    """A study that is unknown, or exists with another configuration."""


class StorageError(AutoGateError):
    """A database or directory that cannot be used."""


class NoStudiesError(StorageError):
    """There is no study database yet where one was looked for."""


class ConnectionDroppedError(StorageError):
    """The connection to the database was lost, and did not come back in time."""


class StudyRunningError(StudyError):
    """Another process drives the study, or uses the database as a whole."""


class ExportError(AutoGateError):
    """A deliverable that cannot be written, or does not reproduce the live model."""


class ReportError(AutoGateError):
    """A plot or report that cannot be written."""


class TrainingError(AutoGateError):
    """Training that cannot start or went wrong (for example a loss that is not finite)."""


class LeaseLostError(AutoGateError):
    """A worker's job was given to another worker, or nobody wants it any more."""


class WorkerStoppedError(AutoGateError):
    """A worker was asked to stop."""


class BudgetInfeasibleError(AutoGateError):
    """No policy meets a budget."""

    exit_code = 3

    def document(self) -> dict[str, object]:
        """Return what is known as one JSON-ready document."""
        return {"schema": "autogate.infeasible/1", "best": None, "error": str(self)}


class LatencyInfeasibleError(BudgetInfeasibleError):
    """No policy meets the latency budget.

    Attributes:
        fastest_ms: The lowest latency that can be reached, in milliseconds.
        budget_ms: The budget that was asked for, in milliseconds.
    """

    def __init__(self, message: str, *, fastest_ms: float, budget_ms: float) -> None:
        super().__init__(message)
        self.fastest_ms = fastest_ms
        self.budget_ms = budget_ms

    def document(self) -> dict[str, object]:
        """Return what is known as one JSON-ready document."""
        known = {"label": "predicted", "fastest_ms": self.fastest_ms, "budget_ms": self.budget_ms}
        return {**super().document(), **known}


class MemoryInfeasibleError(BudgetInfeasibleError):
    """No policy meets the memory budget.

    Attributes:
        smallest_bytes: The lowest peak memory that can be reached, in bytes.
        budget_bytes: The budget that was asked for, in bytes.
    """

    def __init__(self, message: str, *, smallest_bytes: int, budget_bytes: float) -> None:
        super().__init__(message)
        self.smallest_bytes = smallest_bytes
        self.budget_bytes = budget_bytes

    def document(self) -> dict[str, object]:
        """Return what is known as one JSON-ready document."""
        known = {"label": "measured", "smallest_peak_memory_bytes": self.smallest_bytes}
        return {**super().document(), **known, "memory_budget_bytes": self.budget_bytes}
