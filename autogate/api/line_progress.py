"""Progress as plain lines: one per stage, trial and note, and now and then one while a stage says nothing itself."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod

from autogate.records import TrialRecord
from autogate.studies import Reporter
from autogate.units import score_text

_HEARTBEAT_S = 30.0
_log = logging.getLogger("autogate")
_log.addHandler(logging.NullHandler())


class LineReporter(Reporter):
    """Says everything in lines; a subclass decides where they go.

    Args:
        heartbeat_s: Seconds without a line after which one says how far a long stage is.
    """

    def __init__(self, heartbeat_s: float = _HEARTBEAT_S) -> None:
        super().__init__()
        self._heartbeat_s = heartbeat_s
        self._open: list[tuple[str, float]] = []
        self._reached = ""
        self._said_s = time.monotonic()
        self._left = threading.Event()

    @abstractmethod
    def say(self, text: str) -> None:
        """Write one line on what is being done."""

    @abstractmethod
    def warn(self, text: str) -> None:
        """Write one line that the user may want to act on."""

    def begin(self, study: str, resume: str) -> None:
        """Say the study's name and the command that resumes it."""
        self._line(f"study {study}; after an interruption: {resume}")

    def enter(self, name: str) -> None:
        """Begin to watch how long a stage takes."""
        self._reached, self._said_s = "", time.monotonic()
        self._open.append((name, time.monotonic()))
        if len(self._open) == 1:
            self._left = threading.Event()
            threading.Thread(target=self._beat, args=(self._left,), name="progress", daemon=True).start()

    def leave(self, name: str) -> None:
        """Say how long a stage took."""
        self.abandon(name)
        self._line(f"{name}: done after {self.seconds[name]:.1f} s")

    def abandon(self, name: str) -> None:
        """Leave a stage without a word: what went wrong is said by whoever catches it."""
        self._open.pop()
        if not self._open:
            self._left.set()

    def progress(self, fraction: float, text: str) -> None:
        """Remember how far the stage is, for the next sign of life."""
        self._reached = f", {100 * fraction:.0f} %, {text}"

    def note(self, text: str) -> None:
        """Say one line that the user may want to act on."""
        self._said_s = time.monotonic()
        self.warn(text)

    def info(self, text: str) -> None:
        """Say one line on what is being done."""
        self._line(text)

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        """Say one line per proposal."""
        accuracy = "" if record.val_accuracy is None else f", accuracy {score_text(record.val_accuracy)}"
        predicted = "" if record.predicted is None else f", predicted {record.predicted['p50']:.3f} ms"
        leader = "" if best is None else f"; best so far {score_text(best.val_accuracy)} (trial {best.number})"
        self._line(f"trial {record.number} ({done} of {wanted}): {record.outcome}{accuracy}{predicted}{leader}")

    def _line(self, text: str) -> None:
        self._said_s = time.monotonic()
        self.say(text)

    def _beat(self, left: threading.Event) -> None:
        """Show a sign of life whenever nothing was said for a while, until all stages are left."""
        while not left.wait(max(0.001, self._said_s + self._heartbeat_s - time.monotonic())):
            if time.monotonic() - self._said_s >= self._heartbeat_s and (stages := self._open[-1:]):
                name, since = stages[0]
                self._line(f"{name}: {time.monotonic() - since:.0f} s so far{self._reached}")


class LoggingReporter(LineReporter):
    """Logs to the logger ``autogate``: notes as warnings, all else as information."""

    def say(self, text: str) -> None:
        """Log as information."""
        _log.info("%s", text)

    def warn(self, text: str) -> None:
        """Log as a warning."""
        _log.warning("%s", text)
