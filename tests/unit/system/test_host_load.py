"""What others do on the host is told apart from what this process does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autogate.system import HostLoad, load_of_others
from autogate.system.host_load import Readings, readings


def work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def told(*found: Readings | None) -> dict[str, float]:
    left = iter(found)
    return HostLoad(read=lambda: next(left)).facts()


def test_own_work_is_not_that_of_others() -> None:
    found = told((10.0, 100.0, 5.0, 1.0), (20.0, 118.0, 7.0, 11.0))
    assert found == {"others_cores": 0.8, "stolen_cores": 0.2}
    # The clocks of host and process differ by a tick.
    assert told((0.0, 0.0, 0.0, 0.0), (1.0, 0.99, 0.0, 1.0))["others_cores"] == 0.0


def test_a_host_that_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert readings() is None
    (tmp_path / "stat").write_text("intr 1 2\n", encoding="utf-8")
    assert readings() is None
    assert load_of_others(0.0) == {}
    assert told(None, None) == {}


@pytest.mark.e2e
@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the host has no /proc/stat")
def test_the_work_of_another_process_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.3)
            load, begun = HostLoad(), time.monotonic()
            work(0.5)
            elapsed, others = time.monotonic() - begun, load.facts()["others_cores"]
        finally:
            other.kill()
    # Less than a core where more runs than there are cores, but never nothing.
    assert others > 0.2 * min(1.0, 0.5 / elapsed)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the host has no /proc/stat")
def test_the_load_is_what_the_host_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Columns: user, nice, system, idle, iowait, irq, softirq, steal, guest (already in user)."""
    (tmp_path / "stat").write_text("cpu 100 20 30 4000 500 6 7 80 9 10\n", encoding="utf-8")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    found = readings()
    assert found is not None
    assert found[1:3] == pytest.approx((1.63, 0.8))
