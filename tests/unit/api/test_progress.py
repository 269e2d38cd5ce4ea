"""Where progress goes by default, on request, and with a reporter of one's own."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import threading
from contextlib import suppress

import optuna
import pytest
from rich.console import Console

import autogate
from autogate.api import LoggingReporter
from autogate.api.line_progress import LineReporter
from autogate.api.progress import PlainReporter, TerminalReporter, default_reporter
from autogate.policy import DENSE
from autogate.records import TrialRecord
from autogate.studies import Reporter


def test_proposals_are_counted_from_one(caplog: pytest.LogCaptureFixture) -> None:
    record = TrialRecord(41, "complete", DENSE, 0.9, {"p50": 1.5}, None, None, 1.0)
    with caplog.at_level(logging.INFO, logger="autogate"):
        LoggingReporter().trial(record, record, 40, 60)
    assert caplog.messages == [
        "trial 41 (40 of 60): complete, accuracy 90.00%, predicted 1.500 ms; best so far 90.00% (trial 41)"
    ]


def test_the_callers_reporter_wins() -> None:
    own = Reporter()
    assert default_reporter(own) is own
    assert default_reporter(own, progress=True) is own
    assert isinstance(default_reporter(None), LoggingReporter)
    assert isinstance(default_reporter(None, progress=True), PlainReporter)  # nobody watches a test


def test_bars_on_a_terminal() -> None:
    reporter = TerminalReporter(Console(file=io.StringIO(), force_terminal=True, width=80))
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
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert capfd.readouterr().out == ""


def test_what_asks_for_nothing_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="autogate"):
        LoggingReporter().info("using the profile of yesterday, 100 % of it")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "using the profile of yesterday, 100 % of it")
    ]
    drawn = TerminalReporter(Console(file=io.StringIO(), force_terminal=True, width=80))
    drawn.info("using the profile of yesterday")
    assert "using the profile of yesterday" in drawn.console.file.getvalue()  # type: ignore[attr-defined]


class Said(LineReporter):
    """Keeps its lines, and can be waited for."""

    def __init__(self, heartbeat_s: float) -> None:
        super().__init__(heartbeat_s)
        self.lines: list[str] = []
        self.another = threading.Event()

    def say(self, text: str) -> None:
        self.lines.append(text)
        self.another.set()

    warn = say


def test_a_stage_is_one_line_and_a_long_one_shows_signs_of_life() -> None:
    quick, slow = Said(heartbeat_s=60.0), Said(heartbeat_s=0.01)
    with quick.stage("profile"):
        quick.progress(0.5, "round 3")
    assert [re.sub(r"[\d.]+ s", "x s", line) for line in quick.lines] == ["profile: done after x s"]
    with slow.stage("search"), slow.stage("train dense"):
        slow.progress(0.5, "loss 0.3")
        slow.another.clear()
        assert slow.another.wait(10.0)
    assert "train dense: 0 s so far, 50 %, loss 0.3" in slow.lines
    said = len(slow.lines)
    assert not slow.another.wait(0.03) or len(slow.lines) == said


def test_what_fails_is_not_said_to_be_done() -> None:
    said = Said(heartbeat_s=60.0)
    with pytest.raises(ValueError, match="no"), said.stage("load"):
        raise ValueError("no")
    assert said.lines == []
    assert "load" in said.seconds


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        monkeypatch.setattr(sys, "stderr", full)
        PlainReporter().note("left out: drop")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


@pytest.mark.e2e
def test_the_logger_is_silent_until_it_is_configured() -> None:
    speak = "import logging, autogate; autogate.LoggingReporter().note('x'); logging.getLogger('autogate').error('y')"

    def said(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout + done.stderr

    assert said(speak) == ""
    assert said(f"import logging; logging.basicConfig(); {speak}") == "WARNING:autogate:x\nERROR:autogate:y\n"


class Counter(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.trials: list[int] = []

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        self.trials.append(record.number)


def test_a_reporter_of_ones_own_receives_the_trials_instead(recorded: str, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter()
    with caplog.at_level(logging.INFO, logger="autogate"):
        autogate.replay("budget", name="again", trials=4, storage=recorded, reporter=counter, progress=True)
    assert counter.trials == list(range(4))
    assert set(counter.seconds) == {"search"}
    assert caplog.messages == []


def test_progress_on_request_is_plain_lines_where_nobody_watches(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    autogate.replay("budget", name="again", trials=4, storage=recorded, progress=True)
    first, *trials, last = capsys.readouterr().err.splitlines()
    assert first.startswith("study again; after an interruption: autogate replay budget ")
    assert first.endswith(" --name again")
    assert [line.split(":")[0] for line in trials] == [f"trial {i} ({i + 1} of 4)" for i in range(4)]
    assert re.fullmatch(r"search: done after \d+\.\d s", last)


@pytest.mark.parametrize("level", [optuna.logging.DEBUG, optuna.logging.INFO, optuna.logging.ERROR])
def test_optunas_logging_is_the_users(recorded: str, capfd: pytest.CaptureFixture[str], level: int) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(level)
    try:
        autogate.replay("budget", name="again", trials=4, storage=recorded)
        assert optuna.logging.get_verbosity() == level
    finally:
        optuna.logging.set_verbosity(before)
    assert "A new study created" not in capfd.readouterr().err
