"""Processes that train for a study, and when the database last saw each of them."""

from __future__ import annotations

import os

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError

from autogate.records import WorkerRecord
from autogate.store import tables
from autogate.store.host import host_name, this_host
from autogate.store.jobs import lease_s
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import Database, clock


class Workers(Database):
    """The workers of a database's studies."""

    @retry_on_disconnect
    def add_worker(self, worker: str, study: str, device: str, code_version: str, *, joined: bool) -> None:
        """Store that this process trains for a study.

        Args:
            worker: Identity of the worker.
            study: Name of the study.
            device: Device it trains on.
            code_version: Version of its code.
            joined: Whether it was started by `autogate worker`, not by the study.

        Raises:
            StudyError: If the study was deleted meanwhile.
        """
        row = tables.Worker(
            id=worker,
            study=study,
            host=this_host(),
            pid=os.getpid(),
            device=device,
            code_version=code_version,
            joined=joined,
            doing=None,
        )
        try:
            with self.session() as session, session.begin():
                row.seen_s = session.scalars(select(clock(session))).one()
                session.merge(row)
        except IntegrityError as error:
            raise self._refused(study, error) from None

    @retry_on_disconnect
    def see_worker(self, worker: str, doing: str | None) -> None:
        """Store that a worker is alive, and its current step as a short text."""
        w = tables.Worker
        with self.session() as session, session.begin():
            session.execute(
                update(w)
                .where(w.id == worker)
                .values(seen_s=clock(session), doing=None if doing is None else doing[:200])
            )

    @retry_on_disconnect
    def remove_worker(self, worker: str) -> None:
        """Remove a worker that has ended."""
        with self.session() as session, session.begin():
            session.execute(delete(tables.Worker).where(tables.Worker.id == worker))

    @retry_on_disconnect
    def workers(self, study: str) -> list[WorkerRecord]:
        """Return the workers of a study that were seen within the length of a lease."""
        w = tables.Worker
        holds = exists().where(tables.Job.holder == w.id)
        with self.session() as session:
            query = select(w, holds).where(w.study == study, w.seen_s >= clock(session) - lease_s()).order_by(w.id)
            return [
                WorkerRecord(row.id, host_name(row.host), row.pid, row.device, row.joined, not busy, row.doing)
                for row, busy in session.execute(query)
            ]

    @retry_on_disconnect
    def forget_workers(self, study: str) -> None:
        """Remove the rows of workers that were not seen for the length of a lease."""
        w = tables.Worker
        with self.session() as session, session.begin():
            session.execute(delete(w).where(w.study == study, w.seen_s < clock(session) - lease_s()))
