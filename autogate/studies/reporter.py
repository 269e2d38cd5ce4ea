"""What a search tells whoever watches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from autogate.records import TrialRecord


class Reporter:
    """Receives stages, progress, notes and trials; this base class ignores them.

    Attributes:
        seconds: Time spent in each stage so far, by its name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Enter a stage; its time is kept in :attr:`seconds`."""
        start = monotonic()
        self.enter(name)
        left = self.abandon
        try:
            yield
            left = self.leave
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - start
            left(name)

    def begin(self, study: str, resume: str) -> None:
        """Receive the study's name, once it is stored, and the command that resumes it."""

    def enter(self, name: str) -> None:
        """Receive the name of a stage that begins."""

    def leave(self, name: str) -> None:
        """Receive the name of a stage that ended."""

    def abandon(self, name: str) -> None:
        """Receive the name of a stage that failed or was interrupted; by default as of one that ended."""
        self.leave(name)

    def progress(self, fraction: float, text: str) -> None:
        """Receive how far the stage is, in [0, 1], and what it is doing."""

    def note(self, text: str) -> None:
        """Receive one line that the user may want to act on."""

    def info(self, text: str) -> None:
        """Receive one line on what is being done, which asks for nothing."""

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        """Receive a trial that ended, the best one so far, and how many of the wanted trials are done."""
