"""What it costs to bring what one unit gives into the memory layout that the next one reads.

Some runtimes keep the dense network in a layout of their own, which gates that pick channels or images by the data do
not take. Between two such gates, and between two units without, nothing is to be done; the way there and back costs
time. So a gate is cheaper beside another, and the time of a unit alone cannot say what a network takes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autogate.gates import get_family
from autogate.records import UnitSample

_BETWEEN = ">"
_BLOCK = "block-"
_GATE = re.compile(r"(\d+):(\w+)")


@dataclass(frozen=True)
class Entry:
    """What comes before a unit, by the layout in which the network's data is.

    Attributes:
        from_own_ms: Time if it is in the runtime's own layout, in milliseconds; for many policies, ``[policies]``.
        from_plain_ms: Time if it is in the plain one, likewise.
        leaves: Layout behind the unit, likewise: 0 for the runtime's own, 1 for the plain one, -1 for that from before.
    """

    from_own_ms: float | np.ndarray = 0.0
    from_plain_ms: float | np.ndarray = 0.0
    leaves: int | np.ndarray = -1

    def at(self, where: np.ndarray) -> Entry:
        """Return what comes before it for some of the policies, or for one several times, by their positions."""
        return Entry(*(np.asarray(field)[where] for field in (self.from_own_ms, self.from_plain_ms, self.leaves)))


NO_ENTRY = Entry()


def deciding(key: str) -> str:
    """Return the gates in a unit form that pick channels or images by the data, whatever they are set to."""
    unit_type, *gates = key.split("|")
    found = [match for gate in gates if (match := _GATE.match(gate)) and not get_family(match[2]).is_static]
    if not found:
        return ""
    return ("block " if unit_type.startswith(_BLOCK) else "") + ",".join(f"{match[1]}:{match[2]}" for match in found)


def entries(keys: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the position of every unit before which layouts may change, and the key of its sample.

    Args:
        keys: Keys of a network's units, in order.
    """
    before = ""
    for index, key in enumerate(keys):
        if not key or _passes_on(key):
            continue
        here = deciding(key)
        if before or here:
            yield index, _BETWEEN.join((before, here, key.split("|", 1)[0]))
        before = here


def is_entry(key: str) -> bool:
    """Whether the key of a sample is of what comes before a unit, not of a unit."""
    return _BETWEEN in key


def _passes_on(key: str) -> bool:
    """Whether a form gives its data in whatever layout it comes: a block without its layers does."""
    return key.startswith(_BLOCK) and not deciding(key)


class LayoutChanges:
    """Knows in which layout unit forms read and give, and what it costs to change it before each.

    Which gates read and give the plain layout is what explains the samples best.

    Args:
        samples: What came before units, among other samples of a profile.
    """

    def __init__(self, samples: Iterable[UnitSample]) -> None:
        self._rows: list[tuple[str, str, str, float]] = []
        for sample in samples:
            if is_entry(sample.key):
                before, after, unit_type = sample.key.split(_BETWEEN)
                self._rows.append((before, after, unit_type, sample.ms))
        names = sorted({name for before, after, _, _ in self._rows for name in (before, after) if name})
        self._reads = dict.fromkeys(names, True)
        self._gives = dict.fromkeys(names, True)
        best, better = self._deviation(), bool(names)
        while better:
            better = False
            for sides in (self._reads, self._gives):
                for name in names:
                    sides[name] = not sides[name]
                    if (now := self._deviation()) < best * (1 - 1e-9):
                        best, better = now, True
                    else:
                        sides[name] = not sides[name]
        self._costs = {place: float(np.median(found)) for place, found in self._changes().items() if place is not None}

    @property
    def known(self) -> bool:
        """Whether layouts ever change in this runtime."""
        return bool(self._rows)

    def entry(self, key: str) -> Entry:
        """Return what comes before a unit form."""
        if not self._rows or _passes_on(key):
            return NO_ENTRY
        unit_type, name = key.split("|", 1)[0], deciding(key)
        reads, gives = self._reads.get(name, bool(name)), self._gives.get(name, bool(name))
        change_ms = self._cost(unit_type, reads)
        return Entry(change_ms if reads else 0.0, 0.0 if reads else change_ms, int(gives))

    def _cost(self, unit_type: str, into_plain: bool) -> float:
        known = self._costs.get((unit_type, into_plain))
        if known is not None:
            return known
        others = [ms for (_, direction), ms in self._costs.items() if direction == into_plain]
        return float(np.median(others)) if others else 0.0

    def _changes(self) -> Mapping[tuple[str, bool] | None, list[float]]:
        """Return the times of all changes by type of unit and direction; those of none under None."""
        found: dict[tuple[str, bool] | None, list[float]] = defaultdict(list)
        for before, after, unit_type, ms in self._rows:
            is_plain, wanted = self._gives.get(before, False), self._reads.get(after, False)
            found[None if is_plain == wanted else (unit_type, wanted)].append(ms)
        return found

    def _deviation(self) -> float:
        total = 0.0
        for place, times in self._changes().items():
            middle = 0.0 if place is None else float(np.median(times))
            total += float(np.abs(np.array(times) - middle).sum())
        return total
