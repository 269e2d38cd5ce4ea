"""How many threads train: on a simulated machine, on which a step takes as long as one says."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from autogate.system import HostLoad
from autogate.training import TrainingThreads

CPU = torch.device("cpu")


class Machine:
    """Eight cores, of which others keep some busy."""

    def __init__(self, step_s: Callable[[int], float], busy: float = 0.0) -> None:
        self.step_s = step_s
        self.busy = busy
        self.now = 0.0
        self.threads = 0
        self.used: list[int] = []
        self._others = 0.0

    def threads_of(self, asked: int | None = None) -> TrainingThreads:
        return TrainingThreads(
            asked,
            most=8,
            busy_now=lambda: self.busy,
            load=lambda: HostLoad(read=lambda: (self.now, self._others, 0.0, 0.0)),
            clock=lambda: self.now,
            use=self.use,
        )

    def use(self, count: int) -> None:
        self.threads = count

    def run(self, threads: TrainingThreads, steps: int) -> int:
        """Run some steps, and return the number of threads of the last."""
        for _ in range(steps):
            with threads.step(CPU):
                self.used.append(self.threads)
                seconds = self.step_s(self.threads)
                self.now += seconds
                self._others += self.busy * seconds
        return self.used[-1]


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autogate.training.threads.usable_cores", lambda: 8)


@pytest.mark.parametrize(
    ("step_s", "best"),
    [
        (lambda n: 0.8 / n, 8),  # it scales
        (lambda n: 0.01 * n, 1),  # each thread only adds what it costs to start
        (lambda n: 0.8 / min(n, 4) + 0.01 * n, 4),
        (lambda n: 0.1, 8),  # no difference
    ],
)
def test_the_steps_tell_what_pays(step_s: Callable[[int], float], best: int) -> None:
    machine = Machine(step_s)
    with machine.threads_of() as threads:
        threads.begin()
        assert machine.run(threads, 30) == best


def test_cores_that_others_keep_busy_are_left_to_them() -> None:
    rng = random.Random(0)
    for _ in range(10):
        busy = rng.uniform(0.0, 9.0)
        machine = Machine(lambda n: 0.8 / n, busy)
        with machine.threads_of() as threads:
            assert machine.run(threads, 30) == max(1, round(8 - busy)) == threads.free()
            # As soon as they are free they are used.
            machine.busy = 0.0
            machine.run(threads, round(60 / machine.step_s(8)))
            assert machine.run(threads, 1) == 8


def test_a_neighbour_that_comes_later_is_noticed() -> None:
    machine = Machine(lambda n: 0.8 / n if n <= 8 - machine.busy else 5.0)
    with machine.threads_of() as threads:
        assert machine.run(threads, 100) == 8
        machine.busy = 6.0
        assert machine.run(threads, 120) == 2


def test_a_number_that_is_asked_for_is_taken_and_what_was_before_comes_back() -> None:
    before = torch.get_num_threads()
    machine = Machine(lambda n: 0.01 * n, busy=7.0)
    with machine.threads_of(3) as threads:
        assert machine.run(threads, 20) == 3 == threads.free()
    assert machine.threads == before


def test_a_step_on_a_gpu_is_left_alone() -> None:
    machine = Machine(lambda n: 0.01 * n)
    with machine.threads_of() as threads:
        for _ in range(30):
            with threads.step(torch.device("cuda", 0)):
                pass
        assert machine.threads == 8
