"""What runs on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from autogate.latency.hardware.machine import busiest_processes


@pytest.mark.e2e
def test_a_process_that_runs_is_among_the_busiest(tmp_path: Path) -> None:
    name = "autogate-busy"
    (tmp_path / name).symlink_to(sys.executable)
    with subprocess.Popen([str(tmp_path / name), "-c", "while True: pass"]) as other:
        try:
            found, end = [], time.monotonic() + 20
            while name not in found and time.monotonic() < end:
                time.sleep(0.1)
                found = busiest_processes(limit=10_000)
        finally:
            other.kill()
    assert name in found
