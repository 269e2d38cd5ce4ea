"""How busy other work keeps the host, this process left out: its own threads are what is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_STAT = Path("/proc/stat")
# Columns of the first line: user, nice, system, idle, iowait, irq, softirq, steal.
_BUSY, _STOLEN = (0, 1, 2, 5, 6), 7

Readings = tuple[float, float, float, float]


def readings(stat: Path = _STAT) -> Readings | None:
    """Return what a :class:`HostLoad` reads, from a file of the form of ``/proc/stat``; None if it has another."""
    try:
        ticks = [int(field) for field in stat.read_text(encoding="utf-8").splitlines()[0].split()[1:]]
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        busy, stolen = (tick_s * total for total in (sum(ticks[i] for i in _BUSY), ticks[_STOLEN]))
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.monotonic(), busy, stolen, time.process_time()


class HostLoad:
    """Counts, from when it is made, how many cores are kept busy by others, and how many the hypervisor withholds.

    Args:
        read: Returns seconds of the clock, of all cores' work, withheld from them, and of this process's work; None
            where the host tells none.
    """

    def __init__(self, *, read: Callable[[], Readings | None] = readings) -> None:
        self._read = read
        self._begun = self._read()

    def facts(self) -> dict[str, float]:
        """Return ``others_cores`` and ``stolen_cores`` as means since the beginning; empty where the host tells none.

        What ran for less than a few clock ticks of the host (10 ms each) is not seen.
        """
        now = self._read()
        if self._begun is None or now is None or now[0] <= self._begun[0]:
            return {}
        elapsed, busy, stolen, own = (after - before for after, before in zip(now, self._begun, strict=True))
        return {"others_cores": round(max(0.0, busy - own) / elapsed, 2), "stolen_cores": round(stolen / elapsed, 2)}


def load_of_others(seconds: float = 0.3) -> dict[str, float]:
    """Return what :meth:`HostLoad.facts` does, over the next ``seconds``."""
    load = HostLoad()
    time.sleep(seconds)
    return load.facts()
