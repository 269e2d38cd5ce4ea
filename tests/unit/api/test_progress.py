"""Where progress goes by default, on request, and with a reporter of one's own."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from autogate.api import LoggingReporter, TerminalReporter
from autogate.api.progress import default_reporter
from autogate.studies import Reporter


def test_the_callers_reporter_wins() -> None:
    own = Reporter()
    assert default_reporter(own) is own
    assert default_reporter(own, progress=True) is own
    assert isinstance(default_reporter(None), LoggingReporter)
    assert isinstance(default_reporter(None, progress=True), TerminalReporter)


def test_bars_on_a_terminal() -> None:
    reporter = TerminalReporter()
    reporter.console = Console(file=io.StringIO(), force_terminal=True, width=80)
    reporter.watched = True
    with reporter.stage("profile"):
        reporter.progress(0.5, "round 3")
    reporter.note("left out: drop")
    drawn = reporter.console.file.getvalue()  # type: ignore[attr-defined]
    assert "profile" in drawn
    assert "left out: drop" in drawn


def test_nothing_is_printed_by_default(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    reporter = default_reporter(None)
    with caplog.at_level(logging.INFO, logger="autogate"):
        with reporter.stage("profile"):
            reporter.progress(0.5, "round 3")
        reporter.note("left out: drop")
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]
    assert capfd.readouterr().out == ""
