"""What all teams have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from autogate.store import Store

if TYPE_CHECKING:
    from autogate.search.driver import Driver

# Candidates that wait for each worker of another host, so that it need not wait for the driver.
_AHEAD = 2


class Team(AbstractContextManager["Team"], ABC):
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

    def run(self, driver: Driver) -> None:
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


def free_what_the_dead_hold(store: Store, study: str) -> None:
    """Free the jobs of workers of this host that are known to have died; for those elsewhere, leases end."""
    for worker in store.release_dead(study):
        store.remove_worker(worker)
