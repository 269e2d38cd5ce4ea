"""Wait until the cores that a measurement needs are free, or find out how many stay busy."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from autogate.records import Setting
from autogate.system import load_of_others, usable_cores

_LOOK_S = 0.3
_PAUSE_S = 2.0
# A core that is busy for more than this share of each of so many looks will stay so.
_BUSY = 0.6
_LOOKS = 5
# What may run beside a measurement: a quarter of a core, or on a large host a share of it.
_MOST_CORES = 0.25
_MOST_SHARE = 0.05


def _busy_cores() -> float:
    return sum(load_of_others(_LOOK_S).values())


def steadily_busy_cores(
    *, busy_cores: Callable[[], float] = _busy_cores, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Return how many cores other work keeps busy all the time; a quiet host is looked at once, a busy one for seconds.

    Args:
        busy_cores: Looks for a moment, and returns how many cores are not to be had.
        sleep: Lets seconds pass.
    """
    least = busy_cores()
    for _ in range(_LOOKS):
        if least < _BUSY:
            return 0
        sleep(_PAUSE_S / 2)
        least = min(least, busy_cores())
    return round(least)


class Patience:
    """Waits for a quiet host, for so long in all.

    Args:
        seconds: Longest time to wait, over all calls.
        busy_cores: Looks for a moment, and returns how many cores are not to be had; 0.0 if the host does not tell.
        sleep: Lets seconds pass.
        clock: Returns a time in seconds.
    """

    def __init__(
        self,
        seconds: float = 60.0,
        *,
        busy_cores: Callable[[], float] = _busy_cores,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.left_s = seconds
        self._busy_cores = busy_cores
        self._sleep = sleep
        self._clock = clock

    def wait(self, setting: Setting, say: Callable[[str], None] = lambda text: None) -> bool:
        """Return whether the host is quiet enough to measure, now or within the time that is left.

        Args:
            setting: What is measured; a GPU needs one core, a CPU as many as it has threads.
            say: Told how busy the host is, as often as it is looked at.
        """
        cores = usable_cores()
        threads = setting.threads if torch.device(setting.device).type == "cpu" else 1
        allowed = max(0, cores - threads) + max(_MOST_CORES, _MOST_SHARE * cores)
        begun, budget_s = self._clock(), self.left_s
        while (busy := self._busy_cores()) > allowed:
            self.left_s = budget_s - (self._clock() - begun)
            if self.left_s < _PAUSE_S:
                return False
            say(f"waiting: other work keeps {busy:.1f} cores busy")
            self._sleep(_PAUSE_S)
        return True
