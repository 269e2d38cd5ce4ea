"""A team of one: the process that drives the study trains, too, one candidate after the other."""

from __future__ import annotations

import time
from types import TracebackType

from autogate.nas.evaluating import Evaluator
from autogate.nas.executors.executor import Executor
from autogate.nas.workers import WorkerSession, run_job
from autogate.store import Store
from autogate.studies import Reporter

_WAIT_S = 0.25


class InlineExecutor(Executor):
    """Trains in this process.

    Args:
        store: The study database.
        study: Name of the study.
        evaluator: Trains and scores.
        device: Device it trains on.
        reporter: Receives progress.
    """

    def __init__(self, store: Store, study: str, evaluator: Evaluator, device: str, reporter: Reporter) -> None:
        super().__init__(store, study)
        self._evaluator = evaluator
        self._reporter = reporter
        self._session = WorkerSession(store, study, device, joined=False)

    def __enter__(self) -> InlineExecutor:
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)

    def capacity(self) -> int:
        """One at a time, and some for workers that joined."""
        return 1 + self._joined()

    def work(self) -> None:
        """Train the next candidate; wait where others train all there are."""
        job = self._session.take()
        if job is None:
            time.sleep(_WAIT_S)
        else:
            run_job(self.store, self._evaluator, job, self._session, self._reporter)
