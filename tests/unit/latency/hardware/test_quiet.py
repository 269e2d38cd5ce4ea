"""Waiting for a quiet host, on a clock that only waiting moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from autogate.latency.hardware import Patience, steadily_busy_cores
from autogate.system import usable_cores
from tests.support.profiles import SETTING

CORES = usable_cores()


class Host:
    """A host on which others keep cores busy, as a function of time."""

    def __init__(self, busy: Callable[[float], float]) -> None:
        self.now = 0.0
        self.busy = busy

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, busy_cores=self.look, sleep=self.sleep, clock=lambda: self.now)

    def look(self) -> float:
        self.now += 0.3
        return self.busy(self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_quiet_host_is_not_waited_for() -> None:
    host = Host(lambda now: 0.1)
    assert host.patience(60.0).wait(replace(SETTING, threads=CORES))
    assert host.now == pytest.approx(0.3)


def test_it_is_waited_for_until_the_neighbour_ends() -> None:
    host, heard = Host(lambda now: CORES if now < 20 else 0.0), list[str]()
    assert host.patience(60.0).wait(replace(SETTING, threads=CORES), heard.append)
    assert 20 <= host.now < 25
    assert set(heard) == {f"waiting: other work keeps {CORES:.1f} cores busy"}


def test_patience_ends_and_is_shared_by_all_calls() -> None:
    host = Host(lambda now: 100.0)
    patience = host.patience(10.0)
    assert not patience.wait(SETTING)
    assert host.now <= 12
    begun = host.now
    assert not patience.wait(SETTING)
    assert host.now - begun < 3


def test_work_on_cores_that_the_measurement_does_not_need_is_no_reason_to_wait() -> None:
    host = Host(lambda now: CORES - 1)
    assert host.patience(0.0).wait(replace(SETTING, threads=1))
    # A GPU needs the host only for handing out work.
    assert host.patience(0.0).wait(replace(SETTING, device="cuda:0", threads=CORES))
    assert not Host(lambda now: CORES).patience(0.0).wait(replace(SETTING, threads=1))


@pytest.mark.parametrize(
    ("busy", "cores"),
    [
        (lambda now: 0.1, 0),
        (lambda now: 0.98, 1),
        (lambda now: 2.04 if now < 3 else 1.7, 2),
        (lambda now: 1.0 if now < 3 else 0.2, 0),  # it ends
        (lambda now: 1.3, 1),
    ],
)
def test_only_cores_that_stay_busy_count(busy: Callable[[float], float], cores: int) -> None:
    host = Host(busy)
    assert steadily_busy_cores(busy_cores=host.look, sleep=host.sleep) == cores
    assert host.now < 8


def test_a_quiet_host_is_looked_at_once() -> None:
    host = Host(lambda now: 0.2)
    assert steadily_busy_cores(busy_cores=host.look, sleep=host.sleep) == 0
    assert host.now == pytest.approx(0.3)
