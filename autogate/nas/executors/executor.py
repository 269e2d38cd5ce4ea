"""What all teams have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Protocol

from autogate.goals import Objective
from autogate.nas.proposing import OpenTrial
from autogate.store import Store

# Candidates that wait for each worker of another host, so that it need not wait for the driver.
_AHEAD = 2


class JobSource(Protocol):
    """What asks for trainings: it proposes candidates as jobs, and takes in what became of them.

    Attributes:
        name: Name of the study.
        objective: What the search is after.
        open: Trials that are being trained, by number.
    """

    name: str
    objective: Objective
    open: dict[int, OpenTrial]

    @property
    def wants_more(self) -> bool:
        """Whether a further candidate may be proposed."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is being trained, and nothing more wanted."""

    def propose(self) -> OpenTrial | None:
        """Propose one candidate; return it if it is to be trained, and is now a job."""

    def collect(self) -> None:
        """Take in what has been trained, or has failed, since the last look."""

    def stop(self, number: int, reason: str) -> None:
        """End a trial that is too weak to be trained further."""

    def lose(self, number: int, reason: str) -> None:
        """End a trial that nobody can train."""


class Executor(AbstractContextManager["Executor"], ABC):
    """Does the jobs of a study.

    Args:
        store: The study database.
        study: Name of the study.
    """

    def __init__(self, store: Store, study: str) -> None:
        self.store = store
        self.study = study

    @abstractmethod
    def capacity(self) -> int:
        """Return how many candidates to have in training, or waiting for it, at a time."""

    @abstractmethod
    def work(self) -> None:
        """Do a job, or wait a moment while others do.

        Raises:
            AutoGateError: If nobody can do any.
        """

    def run(self, driver: JobSource) -> None:
        """Search until the driver's limits are reached."""
        while True:
            self.store.check_held()
            driver.collect()
            while driver.wants_more and len(driver.open) < self.capacity():
                driver.propose()
            if driver.is_over:
                return
            self.work()

    def _joined(self) -> int:
        """Return how many candidates to have ready for the workers that joined from elsewhere."""
        return _AHEAD * sum(worker.joined for worker in self.store.workers(self.study))


def release_dead_workers(store: Store, study: str) -> None:
    """Free the jobs of workers of this host that are known to have died; for those elsewhere, leases end."""
    for worker in store.release_dead(study):
        store.remove_worker(worker)
