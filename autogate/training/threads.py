"""How many CPU threads train: as many as are asked for, or as many as pay on the cores that nobody else uses.

Threads that wait for each other on a busy core make a step many times slower than one thread alone would be. So the
search for their number starts from the cores that are free, and the steps themselves tell whether half of them would
do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import torch

from autogate.system import HostLoad, load_of_others, usable_cores

# Steps that show how fast a number of threads is; the first of them, in which threads start, does not count.
_STEPS = 4
# Fewer threads must be faster by this share, since a quiet machine has no other use for the rest.
_FASTER = 0.97
_LOOK_S = 20.0


def _busy_now() -> float:
    return sum(load_of_others().values())


class TrainingThreads:
    """Sets the number of threads of training steps on the CPU; on leaving, it is as before.

    Args:
        asked: The number to use; None to find one.
        most: The highest to find; None for the cores that this process may use, or fewer if torch was told so.
        busy_now: Looks for a moment, and returns how many cores others keep busy.
        load: Counts how many cores others keep busy from now on; made anew for each look.
        clock: Returns a time in seconds.
        use: Makes torch use so many threads.
    """

    def __init__(
        self,
        asked: int | None = None,
        *,
        most: int | None = None,
        busy_now: Callable[[], float] = _busy_now,
        load: Callable[[], HostLoad] = HostLoad,
        clock: Callable[[], float] = time.monotonic,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        self.asked = asked
        self.most = most or min(usable_cores(), torch.get_num_threads())
        self._busy_now, self._make_load, self._clock, self._use = busy_now, load, clock, use
        self._before = torch.get_num_threads()
        self._count = self.most
        self._trial: _Trial | None = None
        self._load, self._looked_s = load(), clock()

    def __enter__(self) -> TrainingThreads:
        self._set(self.free())
        self._trial = _Trial(self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._use(self._before)

    def free(self) -> int:
        """Return the number that is asked for, or that of the cores which nobody else uses now, at least 1."""
        if self.asked is not None:
            return self.asked
        return 1 if self.most == 1 else self._free(self._busy_now())

    def begin(self) -> None:
        """Begin another training, whose steps are not compared with those before."""
        if self._trial is not None:
            self._trial = _Trial(self._count)

    @contextmanager
    def step(self, device: torch.device) -> Iterator[None]:
        """Run one step of a training, and learn from how long it took."""
        if device.type != "cpu" or self.asked is not None or self.most == 1:
            yield
            return
        self._look()
        begun_s = self._clock()
        yield
        if self._trial is not None:
            self._set(self._trial.next(self._clock() - begun_s))
            if self._trial.is_over:
                self._trial = None

    def _look(self) -> None:
        """Now and then, start again from the cores that are free, as others begin and end."""
        if self._clock() - self._looked_s >= _LOOK_S:
            self._set(self._free(self._load.busy_cores()))
            self._trial = _Trial(self._count)
            self._load, self._looked_s = self._make_load(), self._clock()

    def _free(self, busy_cores: float) -> int:
        return max(1, min(self.most, round(usable_cores() - busy_cores)))

    def _set(self, count: int) -> None:
        self._count = count
        self._use(count)


class _Trial:
    """Halves a number of threads for as long as steps become faster.

    Args:
        count: The number to start with.

    Attributes:
        is_over: Whether the best number is known.
    """

    def __init__(self, count: int) -> None:
        self.is_over = count == 1
        self._count = self._best = count
        self._best_s = float("inf")
        self._steps_s: list[float] = []

    def next(self, seconds: float) -> int:
        """Return how many threads run the next step, after one that took so long."""
        if self.is_over:
            return self._best
        self._steps_s.append(seconds)
        if len(self._steps_s) < _STEPS:
            return self._count
        quickest_s, self._steps_s = min(self._steps_s[1:]), []
        if quickest_s >= _FASTER * self._best_s:
            self.is_over = True
            return self._best
        self._best, self._best_s = self._count, quickest_s
        self.is_over = self._count == 1
        self._count = max(1, self._count // 2)
        return self._best if self.is_over else self._count
