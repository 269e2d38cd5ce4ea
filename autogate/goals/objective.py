"""What a search is after: accuracy under a budget, speed under a largest drop, or both at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autogate.goals.config import SearchConfig
from autogate.goals.goal import GoalMode
from autogate.records import Estimate, LatencyStat

Direction = Literal["maximize", "minimize"]
PREDICTED = "latency_ms.predicted"
REALISED = "latency_ms.realised"
MEMORY = "peak_memory_mib"
ACCURACY = "val_accuracy"


@dataclass(frozen=True)
class Objective:
    """The goal of a search.

    Attributes:
        mode: ``budget``, ``drop`` or ``pareto``.
        stat: Statistic over inputs that counts as the latency.
        limit_ms: Budget in milliseconds; None in the other modes.
        floor: Lowest validation accuracy allowed after short training; None in the other modes.
    """

    mode: GoalMode
    stat: LatencyStat
    limit_ms: float | None
    floor: float | None

    @classmethod
    def of(cls, config: SearchConfig, dense_ms: float) -> Objective:
        """Return the objective of a configuration for a dense network of this latency; a floor comes later."""
        return cls(config.goal.mode, config.latency_stat, config.goal.limit_ms(dense_ms), None)

    @property
    def directions(self) -> list[Direction]:
        """Optuna's directions of the objective's values."""
        directions: dict[GoalMode, list[Direction]] = {
            "budget": ["maximize"],
            "drop": ["minimize"],
            "pareto": ["maximize", "minimize"],
        }
        return directions[self.mode]

    def fits(self, estimate: Estimate) -> bool:
        """Whether the upper bound of the estimate is within the budget; always, without one."""
        return self.limit_ms is None or estimate.upper(self.stat) <= self.limit_ms

    def excess_ms(self, estimate: Estimate) -> float:
        """By how much the upper bound exceeds the budget; at most 0 if it fits."""
        return 0.0 if self.limit_ms is None else estimate.upper(self.stat) - self.limit_ms

    def values(self, accuracy: float, latency_ms: float) -> list[float]:
        """Return the objective's values for Optuna."""
        return {"budget": [accuracy], "drop": [latency_ms], "pareto": [accuracy, latency_ms]}[self.mode]

    def acceptable(self, accuracy: float, latency_upper_ms: float) -> bool:
        """Whether a policy of this accuracy and latency bound is a solution."""
        in_time = self.limit_ms is None or latency_upper_ms <= self.limit_ms
        return in_time and (self.floor is None or accuracy >= self.floor)

    def rank(self, accuracy: float, latency_ms: float) -> tuple[float, float]:
        """Return a key that is smaller for better solutions."""
        return (latency_ms, -accuracy) if self.mode == "drop" else (-accuracy, latency_ms)
