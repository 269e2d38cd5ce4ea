"""One run of a study: the database it is kept in, what was asked for, and what was found out, written through."""

from __future__ import annotations

from collections.abc import Callable

from autogate.goals import SearchConfig
from autogate.records import StudyFacts
from autogate.store import Store
from autogate.studies.reporter import Reporter


class StudyRun:
    """A study that this process drives.

    Args:
        store: The study database.
        name: Name of the study.
        config: What is asked for.
        reporter: Receives progress.

    Attributes:
        facts: What is known so far; :meth:`update` changes it, here and in the database.
    """

    def __init__(self, store: Store, name: str, config: SearchConfig, reporter: Reporter) -> None:
        self.store = store
        self.name = name
        self.config = config
        self.reporter = reporter
        self.is_stored = name in store.study_names()
        self.facts = store.study(name).facts if self.is_stored else StudyFacts()

    def update(self, change: Callable[[StudyFacts], StudyFacts]) -> StudyFacts:
        """Replace the facts by what ``change`` makes of them, and return those; of a stored study, in the database.

        ``change`` may be called again on what it made, so it must not add anything twice.
        """
        self.facts = self.store.update_facts(self.name, change) if self.is_stored else change(self.facts)
        return self.facts

    def reconfigure(self, code_version: str, change: Callable[[StudyFacts], StudyFacts] | None = None) -> None:
        """Store what is asked for now of a stored study, and, in one transaction with it, changed facts."""
        self.facts = self.store.set_config(self.name, self.config, change, code_version=code_version)

    def create(self, code_version: str) -> None:
        """Store the study with the facts known so far; this process is its driver from now on.

        Raises:
            StudyError: If there is one of that name.
        """
        self.store.create_study(self.name, self.config, self.facts, code_version=code_version)
        self.store.claim(self.name)
        self.is_stored = True
        self.reporter.begin(self.name, self.store.command("resume", self.name))
