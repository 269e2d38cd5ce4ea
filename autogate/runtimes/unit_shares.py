"""What each unit of a network takes of a pass, by the times of the nodes that a runtime ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# No node takes less than this share of what its clock says.
_LEAST = 0.1


class NodesBetween(NamedTuple):
    """Nodes between two units, such as those that bring what the one gives into the layout that the other reads.

    Attributes:
        before: Number of the one.
        after: Number of the other; the same for nodes inside a unit.
        ms: What they take by their clocks, in milliseconds.
        clocks: How often as much as one clock costs is in that time.
    """

    before: int
    after: int
    ms: float
    clocks: float


@dataclass(frozen=True)
class UnitShares:
    """Shares of a pass, by number of the unit.

    Attributes:
        units: Nodes inside each unit.
        entries: Nodes between earlier units and this one.
    """

    units: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    entries: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))


def unit_shares(nodes: Sequence[NodesBetween], pass_ms: float, call_ms: float) -> UnitShares:
    """Return the shares that units take.

    Clocks cost time themselves, and what passes between nodes is on no clock: the difference between a pass and the
    sum of its nodes is the nodes', in equal parts.

    Args:
        nodes: What ran.
        pass_ms: Time of a pass without clocks, in milliseconds.
        call_ms: How much of it a network of nothing takes, too; no unit's.
    """
    each_ms = (pass_ms - call_ms - sum(one.ms for one in nodes)) / sum(one.clocks for one in nodes)
    shares = UnitShares()
    for one in nodes:
        of = shares.units if one.before == one.after else shares.entries
        of[one.after] += max(one.ms + one.clocks * each_ms, _LEAST * one.ms) / pass_ms
    return shares
