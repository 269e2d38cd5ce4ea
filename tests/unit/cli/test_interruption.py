"""An interruption ends a command wherever it arrives."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

CODE = """
import signal, sys, time
from autogate.cli.main import _interrupt_again

class InterruptedAtItsEnd:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.unraisablehook = _interrupt_again
thing = InterruptedAtItsEnd()
try:
    del thing
    print("lost")
    time.sleep(60)
except KeyboardInterrupt:
    print("delivered")
"""


@pytest.mark.e2e  # another process
def test_an_interruption_while_an_object_is_cleared_away_is_not_lost() -> None:
    start_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["lost", "delivered"]
    assert time.monotonic() - start_s < 50
