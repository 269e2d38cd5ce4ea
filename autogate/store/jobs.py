"""Jobs: evaluations to train. A worker holds one under a lease on the database's clock; hosts' clocks do not matter."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, and_, case, delete, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.errors import StorageError
from autogate.policy import Policy
from autogate.records import MOST_ATTEMPTS, Evaluation, EvaluationKey, Job
from autogate.store import tables
from autogate.store.policies import Policies, evaluation_row
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import clock
from autogate.system import is_dead

LEASE_VARIABLE = "AUTOGATE_LEASE_S"
_LEASE_S = 60.0
_RENEWALS = 4


def lease_s() -> float:
    """Return how many seconds a worker holds a job without renewing its lease.

    Raises:
        StorageError: If the environment variable is not a number of at least 1.
    """
    text = os.environ.get(LEASE_VARIABLE, str(_LEASE_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds < float("inf"):
        raise StorageError(f"{LEASE_VARIABLE} must be at least 1 second, not {text!r}")
    return seconds


def renewal_s() -> float:
    """Return how often a lease is to be renewed, in seconds."""
    return lease_s() / _RENEWALS


class Jobs(Policies):
    """The jobs of a database; no two of them have an equal key, even in different studies."""

    @retry_on_disconnect
    def add_job(self, key: EvaluationKey, study: str, trial: int) -> None:
        """Add a job for an evaluation; one of another study is taken over if that study has no worker."""
        with suppress(IntegrityError):
            self._add(tables.Job(**vars(key), study=study, trial=trial, attempts=0))
            return
        with self.session() as session, session.begin():
            j, w = tables.Job, tables.Worker
            lively = exists().where(w.study == j.study, w.seen_s >= clock(session) - lease_s())
            session.execute(
                update(j)
                .where(_has(key), _free(session), or_(j.study == study, ~lively))
                .values(study=study, trial=trial, holder=None, failure=None)
            )

    @retry_on_disconnect
    def jobs(self, study: str) -> list[Job]:
        """Return the jobs of a study, in the order in which they were asked for."""
        return self._jobs(tables.Job.study == study)

    @retry_on_disconnect
    def find_job(self, key: EvaluationKey) -> Job | None:
        """Return the job under ``key``, of any study, or None."""
        return next(iter(self._jobs(_has(key))), None)

    @retry_on_disconnect
    def take_job(self, study: str, worker: str, job: int | None = None) -> Job | None:
        """Take a free job of a study under a lease, or return None if there is none.

        Args:
            study: Name of the study.
            worker: Identity of the worker.
            job: Id of the job; None for the next free one.
        """
        j = tables.Job
        with self.session() as session:
            query = select(j.id).where(j.study == study, _open(session)).order_by(j.id).limit(8)
            free = session.scalars(query if job is None else query.where(j.id == job)).all()
        for one in free:
            if self._take(one, worker):
                return next(iter(self._jobs(j.id == one)), None)
        return None

    def _jobs(self, which: ColumnElement[bool]) -> list[Job]:
        j = tables.Job
        with self.session() as session:
            held = case((_free(session), False), else_=True)
            query = select(j, tables.Policy.body, held).join(tables.Policy).where(which).order_by(j.id)
            return [
                Job(
                    row.id,
                    EvaluationKey(row.policy, row.task, row.recipe, row.fidelity, row.seed),
                    Policy.from_json(body),
                    row.study,
                    row.trial,
                    row.attempts,
                    bool(held_now),
                    row.failure,
                )
                for row, body, held_now in session.execute(query)
            ]

    def _take(self, job: int, worker: str) -> bool:
        """Take the lease of a job; return False if another worker was first."""
        j = tables.Job
        with self.session() as session, session.begin():
            taken = session.execute(
                update(j)
                .where(j.id == job, _open(session))
                .values(holder=worker, expires_s=clock(session) + lease_s(), attempts=j.attempts + 1)
            )
            return _count(taken) == 1

    @retry_on_disconnect
    def renew(self, job: int, worker: str) -> bool:
        """Renew a lease; return whether the worker still holds the job."""
        with self.session() as session, session.begin():
            renewed = session.execute(
                update(tables.Job)
                .where(tables.Job.id == job, tables.Job.holder == worker)
                .values(expires_s=clock(session) + lease_s())
            )
            return _count(renewed) == 1

    @retry_on_disconnect
    def release(self, worker: str, *, counts: bool) -> None:
        """Free what a worker holds; ``counts`` if the attempt is to count, because the worker died of it."""
        attempts = tables.Job.attempts if counts else tables.Job.attempts - 1
        with self.session() as session, session.begin():
            session.execute(
                update(tables.Job).where(tables.Job.holder == worker).values(holder=None, attempts=attempts)
            )

    def release_dead(self, study: str) -> list[str]:
        """Free what workers of this host hold that are known to have died; return who they were."""
        dead = [holder for holder in self.holders(study) if is_dead(holder)]
        for worker in dead:
            self.release(worker, counts=True)
        return dead

    @retry_on_disconnect
    def holders(self, study: str) -> list[str]:
        """Return who holds a job of a study."""
        j = tables.Job
        with self.session() as session:
            return list(session.scalars(select(j.holder).where(j.study == study, j.holder.is_not(None)).distinct()))

    @retry_on_disconnect
    def fail_job(self, job: int, reason: str) -> None:
        """Note that a job cannot be done, and why."""
        with self.session() as session, session.begin():
            session.execute(update(tables.Job).where(tables.Job.id == job).values(holder=None, failure=reason))

    @retry_on_disconnect
    def end_job(self, job: int) -> None:
        """Delete a job that is no longer needed."""
        with self.session() as session, session.begin():
            session.execute(delete(tables.Job).where(tables.Job.id == job))

    @retry_on_disconnect
    def finish_job(self, job: Job, evaluation: Evaluation) -> None:
        """Store an evaluation and end its job, both or neither; an equal key that is there already stays.

        Raises:
            StudyError: If the study was deleted meanwhile, and its policy removed.
        """
        try:
            with self.session() as session, session.begin():
                session.add(evaluation_row(evaluation))
                session.flush()
                session.execute(delete(tables.Job).where(tables.Job.id == job.id))
        except IntegrityError as error:
            if self.find_evaluation(evaluation.key) is None:
                raise self._refused(job.study, error) from None
            self.end_job(job.id)

    @retry_on_disconnect
    def begin_anew(self, study: str) -> None:
        """Reset the attempts and failures of jobs that no worker holds, when a study starts again."""
        with self.session() as session, session.begin():
            free = _free(session)
            session.execute(
                update(tables.Job).where(tables.Job.study == study, free).values(attempts=0, holder=None, failure=None)
            )


def _open(session: Session) -> ColumnElement[bool]:
    return and_(tables.Job.failure.is_(None), tables.Job.attempts < MOST_ATTEMPTS, _free(session))


def _free(session: Session) -> ColumnElement[bool]:
    return or_(tables.Job.holder.is_(None), tables.Job.expires_s < clock(session))


def _has(key: EvaluationKey) -> ColumnElement[bool]:
    return and_(*(getattr(tables.Job, name) == value for name, value in vars(key).items()))


def _count(result: Any) -> int:
    return cast("CursorResult[Any]", result).rowcount
