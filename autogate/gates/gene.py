"""Values that a gate is free to take, and how they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autogate.errors import PolicyError
from autogate.policy import GeneValue


@dataclass(frozen=True)
class Gene:
    """One value that is free to choose: of a gate, or of how a family's gates are trained.

    Attributes:
        name: Name in the policy.
        default: Value used where a policy does not name the gene.
        low: Smallest value allowed, for numbers.
        high: Largest value allowed, for numbers.
        choices: Values allowed, for text.
        prunes: Whether the value is a share that is left out.
        silent: Whether a complete gate does not name it at its default: policies from before the gene was there keep
            their digests.
    """

    name: str
    default: GeneValue
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    prunes: bool = False
    silent: bool = False

    def check(self, value: GeneValue, where: str) -> GeneValue:
        """Return ``value`` in the gene's own type.

        Raises:
            PolicyError: If the value is of another type or out of range; names the site.
        """
        if self.choices:
            if value not in self.choices:
                raise PolicyError(f"{where}: {self.name} must be one of {', '.join(self.choices)}, not {value!r}")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PolicyError(f"{where}: {self.name} must be a number, not {value!r}")
        assert self.low is not None  # noqa: S101 - every numeric gene has a range
        assert self.high is not None  # noqa: S101
        if not self.low <= value <= self.high:
            raise PolicyError(f"{where}: {self.name} must be in [{self.low:g}, {self.high:g}], not {_shown(value)}")
        if not isinstance(self.default, int):
            return float(value)
        if value != int(value):
            raise PolicyError(f"{where}: {self.name} must be a whole number, not {value:g}")
        return int(value)


def _shown(value: float) -> str:
    try:
        return f"{value:g}"
    except OverflowError:
        return f"a number of {len(str(value))} digits"


TARGETED_DROPOUT = Gene("targeted_dropout", 1.0, low=0.0, high=1.0)
"""Probability with which a training step really drops what the gate drops in evaluation."""

GRANULARITY = Gene("granularity", 1, low=1, high=1024, silent=True)
"""Neighbouring channels of a map that are chosen together, per input: gathering runs of memory pays sooner."""


def granularity_of(genes: Mapping[str, GeneValue]) -> int:
    """Return how many channels are chosen together."""
    return int(genes.get(GRANULARITY.name, GRANULARITY.default))
