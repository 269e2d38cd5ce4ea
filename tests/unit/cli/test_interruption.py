"""An interruption ends a command wherever it arrives."""

from __future__ import annotations

import signal
import time

import pytest

from autogate.cli.main import _interrupt_again


class InterruptedAtItsEnd:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def work() -> None:
    thing = InterruptedAtItsEnd()
    del thing
    time.sleep(30)


def test_an_interruption_while_an_object_is_cleared_away_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.unraisablehook", _interrupt_again)
    start_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - start_s < 20
