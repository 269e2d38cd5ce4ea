"""How busy other work keeps this host, beside this process."""

from __future__ import annotations

import time
from collections.abc import Callable

# Fields of psutil.cpu_times() in which a core works; which of them a system reports differs.
_BUSY_FIELDS = ("user", "nice", "system", "irq", "softirq")

Readings = tuple[float, float, float, float]


def readings() -> Readings | None:
    """Return what a :class:`HostLoad` reads, in seconds; None if the host does not report it."""
    import psutil  # here, since naming this package must load nothing but the standard library

    try:
        times = psutil.cpu_times()
    except (OSError, ValueError, IndexError, TypeError):
        return None
    busy = sum(getattr(times, field, 0.0) for field in _BUSY_FIELDS)
    return time.monotonic(), busy, getattr(times, "steal", 0.0), time.process_time()


class HostLoad:
    """Counts, from its creation on, how many cores other processes use and how many the hypervisor withholds.

    The threads of this process are left out: they are what is measured.

    Args:
        read: Returns in seconds the clock, the work of all cores, the time withheld from them, and this process's
            work; None if the host does not report them.
    """

    def __init__(self, *, read: Callable[[], Readings | None] = readings) -> None:
        self._read = read
        self._start = self._read()

    def facts(self) -> dict[str, float]:
        """Return ``others_cores`` and ``stolen_cores``, means since creation; empty if the host does not report them.

        Work shorter than a few clock ticks of the host (10 ms each) is not seen.
        """
        now = self._read()
        if self._start is None or now is None or now[0] <= self._start[0]:
            return {}
        elapsed, busy, stolen, mine = (after - before for after, before in zip(now, self._start, strict=True))
        return {"others_cores": round(max(0.0, busy - mine) / elapsed, 2), "stolen_cores": round(stolen / elapsed, 2)}

    def busy_cores(self) -> float:
        """Return how many cores were not to be had since creation; 0.0 if the host does not report it."""
        return sum(self.facts().values())


def load_of_others(seconds: float = 0.3) -> dict[str, float]:
    """Return what :meth:`HostLoad.facts` does, over the next ``seconds``."""
    load = HostLoad()
    time.sleep(seconds)
    return load.facts()
