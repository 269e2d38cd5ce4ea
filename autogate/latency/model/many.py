"""Predict many policies of a space at once, as a matrix of choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from autogate.gates import Family, get_family
from autogate.latency.model.forms import FormTime
from autogate.latency.model.latency_model import LatencyModel
from autogate.latency.model.layouts import NO_ENTRY, Entry
from autogate.latency.model.units import Unit
from autogate.policy import Gate, Policy
from autogate.space.bound import BoundSpace
from autogate.surgery import canonical

_SEED = 0


class ManyPredictor:
    """Predicts what :meth:`LatencyModel.predict` predicts without realisations, for many policies in one go.

    The time of a unit hangs on the gates at a few sites only. It is worked out once for every combination of them that
    occurs, and looked up afterwards. For a study, :func:`autogate.predict_many` makes one.

    Args:
        model: The latency model.
        space: The space; every gate of it must have been profiled.
    """

    def __init__(self, model: LatencyModel, space: BoundSpace) -> None:
        self._model = model
        self._gates: dict[str, list[Gate | None]] = {}
        self._codes: list[dict[str, np.ndarray]] = []
        for decision in space.decisions:
            options = list(decision.options.values())
            codes = {site: np.zeros(len(options), dtype=np.int64) for gates in options for site in gates}
            for choice, gates in enumerate(options):
                for site, gate in gates.items():
                    known = self._gates.setdefault(site, [None])
                    codes[site][choice] = len(known)
                    known.append(gate)
            self._codes.append(codes)
        self._clashes = _clashes(self._gates, model)
        more_ms = {
            site: np.array([0.0 if gate is None else model.gate_ms(site, gate) for gate in gates])
            for site, gates in self._gates.items()
        }
        self._gates_ms = {site: table for site, table in more_ms.items() if table.any()}
        self._units = [_UnitTimes(unit, self._gates) for unit in model.units]

    def predict_ms(self, choices: np.ndarray) -> np.ndarray:
        """Return latencies in milliseconds, float64 ``[policies]``; gates whose cost varies count as fully open.

        Args:
            choices: For each decision of the space, in order, the position of its choice, int
                ``[policies, decisions]``.

        Raises:
            ProfileError: If a policy holds a gate that was never profiled.
        """
        at: dict[str, np.ndarray] = {}
        for column, codes in zip(choices.T, self._codes, strict=True):
            at |= {site: code[column] for site, code in codes.items()}
        for site, other, clash in self._clashes:
            at[site] = np.where(clash[at[site], at[other]], 0, at[site])
        lines = self._model.timelines(len(choices))
        for unit in self._units:
            lines.run(*unit.look_up(at, self._model))
        whole_ms = self._model.whole_ms(lines.device_ms)
        for site, more_ms in self._gates_ms.items():
            whole_ms = whole_ms + more_ms[at[site]]
        return whole_ms


def _clashes(gates: Mapping[str, Sequence[Gate | None]], model: LatencyModel) -> list[tuple[str, str, np.ndarray]]:
    """Return, in the order in which the canonical form removes gates, (site, other site, which pairs take it away).

    The pairs are bool ``[gates at the site, gates at the other]``.
    """
    sites = model.network.sites
    by_block: list[tuple[str, str, np.ndarray]] = []
    others: list[tuple[str, str, np.ndarray]] = []
    for site in (site for site in sites if site in gates):
        for other in gates:
            if other == site:
                continue
            known: dict[tuple[str, str], bool] = {}
            table = np.zeros((len(gates[site]), len(gates[other])), dtype=bool)
            for i, gate in enumerate(gates[site]):
                for j, its in enumerate(gates[other]):
                    if gate is None or its is None:
                        continue
                    pair = (gate.family, its.family)
                    if pair not in known:
                        may = other in sites[site].inside or _may_clash(*map(get_family, pair))
                        left = canonical(Policy({site: gate, other: its}), sites) if may else None
                        known[pair] = left is not None and site not in left.gates
                    table[i, j] = known[pair]
            if table.any():
                (by_block if other in sites[site].inside else others).append((site, other, table))
    return by_block + others


def _may_clash(one: Family, other: Family) -> bool:
    return one.reads_whole_input or one.reads_whole_map or one.slices_in_training != other.slices_in_training


class _UnitTimes:
    """Times of one unit by the gates at the sites it hangs on; what never occurred is not there."""

    def __init__(self, unit: Unit, gates: Mapping[str, Sequence[Gate | None]]) -> None:
        self.unit = unit
        near = [*unit.sites, *(site for region in unit.regions for site in region.sites)]
        self.gates = {site: gates[site] for site in dict.fromkeys(near) if site in gates}
        # A sum of random 64-bit numbers identifies a combination; a collision is too unlikely to matter.
        rng = np.random.default_rng(_SEED)
        self.marks = {site: rng.integers(0, 2**63, len(its), dtype=np.int64) for site, its in self.gates.items()}
        self.seen = np.zeros(0, dtype=np.int64)
        self.device_ms, self.host_ms, self.waits = np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool)
        self.entry = NO_ENTRY

    def look_up(
        self, at: Mapping[str, np.ndarray], model: LatencyModel
    ) -> tuple[np.ndarray, np.ndarray | float, np.ndarray | bool, Entry]:
        """Return what the unit takes on the device, for the host, whether the host waits, and what comes before.

        They are ``[policies]`` each.

        ``at`` has the gates' positions by site, ``[policies]`` each.
        """
        policies = len(next(iter(at.values())))
        mark = np.zeros(policies, dtype=np.int64)
        for site, marks in self.marks.items():
            mark += marks[at[site]]
        where = self._where(mark)
        if (new := np.flatnonzero(where < 0)).size:
            marks, first = np.unique(mark[new], return_index=True)
            rows = new[first]
            found = [self._work_out(int(row), at, model) for row in rows]
            order = np.argsort(seen := np.concatenate([self.seen, marks]))
            self.seen = seen[order]
            self.device_ms = np.concatenate([self.device_ms, [one.device_ms for one in found]])[order]
            self.host_ms = np.concatenate([self.host_ms, [one.host_ms for one in found]])[order]
            self.waits = np.concatenate([self.waits, [one.waits for one in found]])[order]
            self.entry = _joined(self.entry, [one.entry for one in found], order)
            where = self._where(mark)
        entry = self.entry if self.entry is NO_ENTRY else self.entry.at(where)
        if not self.host_ms.any():
            return self.device_ms[where], 0.0, False, entry
        return self.device_ms[where], self.host_ms[where], self.waits[where], entry

    def _where(self, mark: np.ndarray) -> np.ndarray:
        """Return the position of each combination among those seen; -1 where it is new."""
        if not self.seen.size:
            return np.full(len(mark), -1)
        where = np.minimum(np.searchsorted(self.seen, mark), len(self.seen) - 1)
        return np.where(self.seen[where] == mark, where, -1)

    def _work_out(self, row: int, at: Mapping[str, np.ndarray], model: LatencyModel) -> FormTime:
        present = {site: its[int(at[site][row])] for site, its in self.gates.items()}
        return model.open_time(self.unit, Policy({site: gate for site, gate in present.items() if gate is not None}))


def _joined(known: Entry, more: Sequence[Entry], order: np.ndarray) -> Entry:
    """Return what comes before a unit in the combinations known and in more of them, in a new order.

    It is nothing for all of them if no combination has anything.
    """
    if known is NO_ENTRY and all(one is NO_ENTRY for one in more):
        return NO_ENTRY
    columns = zip(*(dataclasses.astuple(one) for one in more), strict=True)
    before = np.full(len(order) - len(more), 0)
    parts = dataclasses.astuple(known) if known is not NO_ENTRY else (before, before, before - 1)
    return Entry(*(np.concatenate([part, column])[order] for part, column in zip(parts, columns, strict=True)))
