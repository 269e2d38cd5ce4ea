"""What a search tells whoever watches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from autogate.records import TrialRecord


class Reporter:
    """Hears of stages and trials, and says nothing; the command line has one that draws.

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
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - start
            self.leave(name)

    def begin(self, study: str, resume: str) -> None:
        """Hear the study's name, once it is stored, and the command that resumes it."""

    def enter(self, name: str) -> None:
        """Hear that a stage begins."""

    def leave(self, name: str) -> None:
        """Hear that a stage ended."""

    def progress(self, fraction: float, text: str) -> None:
        """Hear how far the stage is, in [0, 1], and what is going on."""

    def note(self, text: str) -> None:
        """Hear one line worth keeping."""

    def trial(self, record: TrialRecord, best: TrialRecord | None, done: int, wanted: int) -> None:
        """Hear what became of a proposal, and of the best so far."""
