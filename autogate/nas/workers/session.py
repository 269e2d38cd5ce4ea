"""A process as a worker: seen in the database while it lives, and holding at most one job under a lease."""

from __future__ import annotations

import threading
from types import TracebackType

from autogate.errors import AutoGateError, LeaseLostError, StorageError, WorkerStoppedError
from autogate.records import Job
from autogate.store import Store, renewal_s
from autogate.studies import Reporter
from autogate.system import ProcessHeartbeat, code_version


class WorkerSession:
    """Makes this process a worker of a study, until it is left; then what it holds is free again.

    Args:
        store: The study database.
        study: Name of the study.
        device: Device it trains on.
        worker: Its identity; None for a fresh one.
        joined: Whether it came by itself, instead of being started with the study.
    """

    def __init__(self, store: Store, study: str, device: str, *, worker: str | None = None, joined: bool) -> None:
        self.store = store
        self.study = study
        self.device = device
        self.joined = joined
        self._alive = ProcessHeartbeat(worker)
        self.id = self._alive.id
        self._job: Job | None = None
        self._doing: str | None = None
        self._failure: AutoGateError | None = None
        self._left = False
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> WorkerSession:
        self.store.add_worker(self.id, self.study, self.device, code_version(), joined=self.joined)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()
        if isinstance(error, Exception) and not isinstance(error, AutoGateError):
            return  # it died of its job, which counts; whoever finds that out frees it
        try:
            # Whoever leaves in good order did not die of its job.
            self.store.release(self.id, counts=False)
            self.store.remove_worker(self.id)
        except StorageError:
            if error is None:
                raise
        finally:
            self._alive.end()

    def leave(self) -> None:
        """Tell the worker to leave: the next check says so."""
        self._left = True

    def take(self, job: int | None = None) -> Job | None:
        """Take a free job of the study, this one or the next, or return None if there is none."""
        self._failure = None
        self._job = self.store.take_job(self.study, self.id, job)
        return self._job

    def done(self) -> None:
        """Note that the job that was taken is over, done or lost."""
        self._job, self._doing = None, None
        if isinstance(self._failure, LeaseLostError):
            self._failure = None

    def check(self) -> None:
        """Go on only while the job is still this worker's.

        Raises:
            LeaseLostError: If it is somebody else's now, or nobody wants it any more.
            WorkerStoppedError: If this worker is to leave.
            StorageError: If the database has been out of reach for long.
        """
        if self._left:
            raise WorkerStoppedError("asked to stop")
        if self._failure is not None:
            raise self._failure

    def says(self, doing: str) -> None:
        """Note what the worker does; it is stored when the lease is renewed next."""
        self._doing = doing

    def _renew(self) -> None:
        while not self._leaving.wait(renewal_s()):
            job = self._job
            try:
                if job is not None and not self.store.renew(job.id, self.id):
                    lost = self._lost(job)
                    if job is self._job:
                        self._failure = lost
                self.store.see_worker(self.id, self._doing)
            except AutoGateError as error:
                self._failure = error

    def _lost(self, job: Job) -> LeaseLostError | None:
        """Return what became of a job that this worker does not hold; None if it was finished just now."""
        if self.store.find_job(job.key) is not None:
            return LeaseLostError(f"trial {job.trial} was given to another worker")
        if self.store.find_evaluation(job.key) is None:
            return LeaseLostError(f"trial {job.trial} is not wanted any more")
        return None


class JobReporter(Reporter):
    """Passes on what a training says, and stops it when its job is somebody else's.

    Args:
        reporter: Receives progress.
        session: The worker.
        job: Its job.
    """

    def __init__(self, reporter: Reporter, session: WorkerSession, job: Job) -> None:
        super().__init__()
        self._reporter = reporter
        self._session = session
        self._job = job

    def progress(self, fraction: float, text: str) -> None:
        """Pass it on."""
        self._session.check()
        self._session.says(f"trial {self._job.trial}, {self._job.key.fidelity}, {fraction:.0%}, {text}")
        self._reporter.progress(fraction, text)
