"""Networks that run in turns, and what the machine does to them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from autogate.latency.hardware.gpu import ThrottleWatch
from autogate.latency.timing import GROUP, Round, interleave, stationary


def calling(calls: list[int], *names: int) -> list[Callable[[], float]]:
    """Return subjects that note that they ran, and say that it took 1 ms."""

    def subject(name: int) -> Callable[[], float]:
        def run() -> float:
            calls.append(name)
            return 1.0

        return run

    return [subject(name) for name in names]


def test_interleaving_is_fair_and_in_random_order() -> None:
    calls: list[int] = []
    passes = interleave(calling(calls, 0, 1), seconds=0.0, warm_up=2, min_rounds=40)
    assert passes.rounds == 40
    assert passes.ms.shape == (2, 40)
    assert calls[:4] == [0, 1, 0, 1]
    pairs = [tuple(calls[4 + 2 * i : 6 + 2 * i]) for i in range(40)]
    assert set(pairs) == {(0, 1), (1, 0)}
    again: list[int] = []
    interleave(calling(again, 0, 1), seconds=0.0, warm_up=2, min_rounds=40)
    assert again == calls


def test_interleaving_ends_when_told() -> None:
    calls: list[int] = []
    (once,) = calling(calls, 0)

    def seventh(one: Round) -> bool:
        return one.number >= 7

    assert interleave([once], seconds=60, warm_up=0, min_rounds=3, done=seventh).rounds == 7
    assert interleave([once], seconds=60, warm_up=0, min_rounds=5, done=lambda _: True).rounds == 5
    assert interleave([once], seconds=60, warm_up=0, max_rounds=4).rounds == 4
    assert len(calls) == 16


def test_warming_up_takes_its_time() -> None:
    at: list[float] = []
    start = time.monotonic()

    def run() -> float:
        at.append(time.monotonic())
        return 1.0

    assert interleave([run], seconds=0.0, warm_up=1, warm_up_s=0.1, min_rounds=5).rounds == 5
    assert at[-5] - start >= 0.1
    assert len(at) > 6


def test_no_round_begins_that_would_not_end_in_time() -> None:
    def slow() -> float:
        time.sleep(0.4)
        return 400.0

    start = time.monotonic()
    interleave([slow], seconds=1.0, warm_up=0, min_rounds=1)
    assert time.monotonic() - start < 1.15


class Machine:
    """Runs 60 subjects of 1 to 60 ms, slower by a factor while ``slow`` says so of the number of the pass."""

    def __init__(self, slow: Callable[[int], float]) -> None:
        self.slow = slow
        self.ran = 0
        self.true_ms = np.arange(1.0, 61.0)
        self.subjects = [self._subject(ms) for ms in self.true_ms]

    def _subject(self, ms: float) -> Callable[[], float]:
        def run() -> float:
            self.ran += 1
            return ms * self.slow(self.ran)

        return run


def test_a_disturbed_group_runs_again() -> None:
    # In the fifth round, the second of three groups meets a slow machine.
    machine = Machine(lambda ran: 1.5 if 261 <= ran <= 280 else 1.0)
    passes = interleave(machine.subjects, seconds=0.0, warm_up=0, min_rounds=8)
    assert passes.again == 1
    assert machine.ran == 8 * 60 + GROUP
    assert passes.ms == pytest.approx(np.tile(machine.true_ms, (8, 1)).T)


def test_a_machine_that_is_slower_for_good_is_not_waited_for() -> None:
    machine = Machine(lambda ran: 1.5 if ran > 240 else 1.0)
    passes = interleave(machine.subjects, seconds=0.0, warm_up=0, min_rounds=30)
    assert 0 < passes.again <= 0.2 * 90 + 1


def test_what_a_part_of_a_round_suffered_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    # The speed swings within a round, by less than what makes a group run again.
    machine = Machine(lambda ran: float((1 + 0.08 * np.sin(ran / 30)) * rng.normal(1, 0.005)))
    passes = interleave(machine.subjects, seconds=0.0, warm_up=0, min_rounds=8)
    by_group = stationary(passes.ms, passes.groups).medians(passes.ms)
    by_round = stationary(passes.ms, np.tile(np.arange(8), (60, 1))).medians(passes.ms)

    def spread(found_ms: np.ndarray) -> float:
        return float(np.std(found_ms / machine.true_ms))

    assert spread(by_group) < 0.6 * spread(by_round)


def test_a_group_that_ran_on_a_throttled_gpu_runs_again_or_is_left_out() -> None:
    machine = Machine(lambda ran: 1.3 if 481 <= ran <= 600 else 1.0)
    watch = ThrottleWatch(lambda: 0x20 if 481 <= machine.ran <= 600 else 0x1)
    passes = interleave(machine.subjects, seconds=0.0, warm_up=0, min_rounds=12, throttled=watch)
    # Six groups' worth of passes were slow: some of them by running again.
    assert watch.throttled == 6
    assert passes.again >= 2
    assert 0 < passes.throttled.sum() <= 5 * GROUP
    rest = passes.ms[:, ~passes.throttled.any(axis=0)]
    assert rest == pytest.approx(np.tile(machine.true_ms, (rest.shape[1], 1)).T)
    kept = stationary(passes.ms, passes.groups, passes.throttled).kept
    assert not (kept & passes.throttled).any()
    # What is throttled all the time is no reason to have nothing.
    hot = stationary(passes.ms, passes.groups, np.ones_like(passes.throttled))
    assert hot.kept.any(axis=1).all()
