"""What a search is for: a latency budget, a largest drop of accuracy, or both at once; and the budgets beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from autogate.errors import AutoGateError
from autogate.units import BYTES, JOULES, TIMES_MS, parse_limit, parse_percentage_points

GoalMode = Literal["budget", "drop", "pareto"]


@dataclass(frozen=True)
class Budget:
    """An upper limit on a resource, absolute or relative to the dense network; subclasses say which resource.

    Attributes:
        text: The budget as the user wrote it.
        absolute: The limit in the unit of the resource, or None for a relative budget.
        fraction: The limit as a fraction of what the dense network takes, or None for an absolute budget.
    """

    name: ClassVar[str]
    units: ClassVar[Mapping[str, float]]
    examples: ClassVar[str]

    text: str
    absolute: float | None = None
    fraction: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a number with a unit of the resource, or a share of dense: ``60%`` or ``0.6x``.

        Raises:
            UnitError: If the number is missing, not positive, or carries no known unit.
        """
        return cls(text.strip(), *parse_limit(text, cls.name, cls.units, cls.examples))

    def limit(self, dense: float) -> float:
        """Return the limit where the dense network takes ``dense``, in the same unit."""
        if self.fraction is not None:
            return self.fraction * dense
        assert self.absolute is not None  # noqa: S101 - one of the two is always set by parse()
        return self.absolute


@dataclass(frozen=True)
class LatencyBudget(Budget):
    """An upper limit on latency, in milliseconds: ``5ms``, ``800us``, ``60%`` or ``0.6x`` of dense."""

    name = "latency budget"
    units = TIMES_MS
    examples = "5ms, 800us, 60% or 0.6x"

    @property
    def absolute_ms(self) -> float | None:
        """The limit in milliseconds, or None for a relative budget."""
        return self.absolute

    def limit_ms(self, dense_ms: float) -> float:
        """Return the limit in milliseconds for a dense network of ``dense_ms`` milliseconds."""
        return self.limit(dense_ms)


@dataclass(frozen=True)
class MemoryBudget(Budget):
    """An upper limit on peak memory, in bytes: ``200MiB``, ``512MB``, ``60%`` or ``0.6x`` of dense."""

    name = "memory budget"
    units = BYTES
    examples = "200MiB, 512MB, 60% or 0.6x"

    def limit_bytes(self, dense_bytes: float) -> float:
        """Return the limit in bytes for a dense network whose peak is ``dense_bytes``."""
        return self.limit(dense_bytes)


@dataclass(frozen=True)
class EnergyBudget(Budget):
    """An upper limit on energy per image, in joules: ``0.5J``, ``80mJ``, ``70%`` or ``0.7x`` of dense."""

    name = "energy budget"
    units = JOULES
    examples = "0.5J, 80mJ, 70% or 0.7x"

    @property
    def absolute_joules(self) -> float | None:
        """The limit in joules per image, or None for a relative budget."""
        return self.absolute


@dataclass(frozen=True)
class Budgets:
    """What a delivered network may take of each resource; None is no limit."""

    latency: LatencyBudget | None = None
    memory: MemoryBudget | None = None
    energy: EnergyBudget | None = None

    @classmethod
    def parse(cls, latency: str | None = None, memory: str | None = None, energy: str | None = None) -> Budgets:
        """Parse those that are given.

        Raises:
            UnitError: If one is no number with a known unit.
        """
        return cls(
            None if latency is None else LatencyBudget.parse(latency),
            None if memory is None else MemoryBudget.parse(memory),
            None if energy is None else EnergyBudget.parse(energy),
        )

    def otherwise(self, own: Budgets) -> Budgets:
        """Return these budgets, and ``own`` where there is none."""
        return Budgets(self.latency or own.latency, self.memory or own.memory, self.energy or own.energy)

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any((self.latency, self.memory, self.energy))


@dataclass(frozen=True)
class Goal:
    """What a search is for, parsed once.

    Attributes:
        mode: ``budget``: the most accurate policy within the latency budget. ``drop``: the fastest policy whose
            accuracy is at most ``max_drop`` below dense. ``pareto``: accuracy and latency as two objectives.
        budgets: The limits on latency, peak memory and energy; a latency budget in the mode ``budget`` alone.
        max_drop: Largest drop of accuracy as a fraction, such as 0.005; None in the other modes.
    """

    mode: GoalMode
    budgets: Budgets = field(default_factory=Budgets)
    max_drop: float | None = None

    @classmethod
    def parse(
        cls,
        *,
        latency_budget: str | None = None,
        max_drop: str | None = None,
        pareto: bool = False,
        memory_budget: str | None = None,
        energy_budget: str | None = None,
    ) -> Goal:
        """Parse a goal from what the user wrote.

        Args:
            latency_budget: Such as ``5ms`` or ``60%`` of dense.
            max_drop: Such as ``0.5%``.
            pareto: Whether accuracy and latency are two objectives.
            memory_budget: Such as ``200MiB`` or ``60%`` of dense.
            energy_budget: Such as ``80mJ`` or ``70%`` of dense.

        Raises:
            UnitError: If a text is no number with a known unit.
            AutoGateError: If not exactly one of latency budget, drop and Pareto is asked for.
        """
        if sum((latency_budget is not None, max_drop is not None, pareto)) != 1:
            raise AutoGateError("give exactly one of --latency-budget 5ms, --max-drop 0.5% and --pareto")
        budgets = Budgets.parse(latency_budget, memory_budget, energy_budget)
        if latency_budget is not None:
            return cls("budget", budgets)
        if max_drop is not None:
            return cls("drop", budgets, parse_percentage_points(max_drop, "accuracy drop", "0.5%"))
        return cls("pareto", budgets)

    def limit_ms(self, dense_ms: float) -> float | None:
        """Return the latency budget in milliseconds for a dense network of ``dense_ms``; None without a budget."""
        return None if self.budgets.latency is None else self.budgets.latency.limit_ms(dense_ms)

    def floor(self, dense_accuracy: float) -> float | None:
        """Return the lowest accuracy allowed where dense reaches ``dense_accuracy``; None without a largest drop."""
        return None if self.max_drop is None else dense_accuracy - self.max_drop
