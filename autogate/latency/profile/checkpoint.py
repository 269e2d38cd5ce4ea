"""Measurements of a profile in progress, on disk, from which an interrupted one is resumed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autogate.errors import ProfileError
from autogate.latency.timing import Pass
from autogate.policy import canonical_json
from autogate.records import DeviceCard

SCHEMA = "autogate.rounds/2"

Round = list[Pass]
"""One pass of every network of a phase."""


class ProfileCheckpoint:
    """Rounds of the phases of a profile.

    Args:
        path: File that stores them; None keeps them in memory only. The file of another profile is replaced.
        identity: Identifies what is profiled; only rounds with an equal identity are resumed.

    Attributes:
        card: The device card, once it is known.
        elapsed_s: Seconds spent so far, in earlier processes too.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        self.path = path
        self.card: DeviceCard | None = None
        self.elapsed_s = 0.0
        self._rounds: dict[str, list[Round]] = defaultdict(list)
        self._ended: set[str] = set()
        if path is None:
            return
        try:
            self._read(path, identity)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self.resumed:
                path.write_text(canonical_json({"schema": SCHEMA, "identity": identity}) + "\n", encoding="utf-8")
        except OSError as error:
            raise ProfileError(f"cannot write {path}: {error.strerror}; choose another file") from None

    @staticmethod
    def is_of(path: Path, identity: str) -> bool:
        """Whether a file keeps rounds of this profile."""
        try:
            rows = _whole_rows(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return False
        return bool(rows) and _is_of(rows[0], identity)

    @property
    def resumed(self) -> bool:
        """Whether measurements of an earlier process were read."""
        return self.elapsed_s > 0

    def rounds(self, phase: str) -> list[Round]:
        """Return the rounds of a phase so far."""
        return list(self._rounds[phase])

    def ended(self, phase: str) -> bool:
        """Whether a phase is complete."""
        return phase in self._ended

    def add_card(self, card: DeviceCard, elapsed_s: float) -> None:
        """Store the device card."""
        self.card = card
        self._append({"card": card.to_json()}, elapsed_s)

    def add_round(self, phase: str, passes: Sequence[Pass], elapsed_s: float) -> None:
        """Store one round of a phase."""
        self._rounds[phase].append(list(passes))
        self._append({"phase": phase, "passes": [_to_json(one) for one in passes]}, elapsed_s)

    def end(self, phase: str, elapsed_s: float) -> None:
        """Store that a phase is complete."""
        self._ended.add(phase)
        self._append({"ended": phase}, elapsed_s)

    def begin_again(self, phase: str, elapsed_s: float) -> None:
        """Discard the rounds of a phase, which were too noisy."""
        self._rounds[phase].clear()
        self._append({"again": phase}, elapsed_s)

    def remove(self) -> None:
        """Remove the file; the profile is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _append(self, row: dict[str, Any], elapsed_s: float) -> None:
        self.elapsed_s = elapsed_s
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(canonical_json({**row, "elapsed_s": round(elapsed_s, 3)}) + "\n")

    def _read(self, path: Path, identity: str) -> None:
        if not path.exists():
            return
        rows = _whole_rows(path.read_text(encoding="utf-8", errors="replace"))
        if not rows or not _is_of(rows[0], identity):
            return
        for row in rows[1:]:
            self._take(row)
        path.write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8")

    def _take(self, row: dict[str, Any]) -> None:
        if "card" in row:
            self.card = DeviceCard(**row["card"])
        elif "again" in row:
            self._rounds[row["again"]].clear()
        elif "ended" in row:
            self._ended.add(row["ended"])
        else:
            self._rounds[row["phase"]].append([_from_json(one) for one in row["passes"]])
        self.elapsed_s = float(row["elapsed_s"])


def _is_of(header: dict[str, Any], identity: str) -> bool:
    return (header.get("schema"), header.get("identity")) == (SCHEMA, identity)


def _whole_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows before the first that is cut, as the last one of a killed process may be."""
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _to_json(one: Pass) -> list[Any]:
    units, host, entries = (list(of.items()) for of in (one.units_ms, one.host_ms, one.entries_ms))
    return [one.whole_ms, units, host, one.group, one.throttled, entries]


def _from_json(data: list[Any]) -> Pass:
    whole_ms, units, host, group, *more = data  # older files end before the last two
    throttled, entries = more[:1], more[1] if len(more) > 1 else ()
    return Pass(
        float(whole_ms),
        {int(i): float(ms) for i, ms in units},
        {int(i): float(ms) for i, ms in host},
        int(group),
        any(throttled),
        {int(i): float(ms) for i, ms in entries},
    )
