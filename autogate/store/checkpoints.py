"""Checkpoints: the latest state of each unfinished training."""

from __future__ import annotations

import hashlib

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autogate.store import tables
from autogate.store.artifacts import Artifacts, artifact_row
from autogate.store.retries import retry_on_disconnect
from autogate.store.session import now_utc

KIND = "checkpoint"


class Checkpoints(Artifacts):
    """The checkpoints of a database; they are stored like its weights, one for each training."""

    @retry_on_disconnect
    def checkpoint(self, slot: str) -> bytes | None:
        """Return the latest state of a training, or None if there is none."""
        with self.session() as session:
            row = session.get(tables.Checkpoint, slot)
            artifact = None if row is None else row.artifact
        return None if artifact is None else self.artifact(artifact)

    @retry_on_disconnect
    def save_checkpoint(self, slot: str, study: str, content: bytes, images: int) -> None:
        """Replace the stored state of a training; it is safe on return.

        Args:
            slot: Identity of the training.
            study: The study it is for.
            content: State of the training.
            images: Images it has seen.

        Raises:
            StudyError: If the study was deleted meanwhile.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        new, store = not self._known(sha256), self._store()
        row = tables.Checkpoint(slot=slot, study=study, artifact=sha256, images=images, saved_utc=now_utc())
        try:
            # One transaction: a process that is killed leaves no state that nothing refers to.
            with self.session() as session, session.begin():
                if new:
                    store.write(session, artifact_row(KIND, sha256, content), content)
                before = session.scalar(select(tables.Checkpoint.artifact).where(tables.Checkpoint.slot == slot))
                session.merge(row)
                session.flush()
                file = None if before in {None, sha256} else self._delete_unused(session, before)
        except IntegrityError as error:
            if new and self._known(sha256):  # a training that lost its lease, and lives, came to the same state
                return
            raise self._refused(study, error) from None
        if file is not None:
            self._delete_file(file)

    def end_checkpoint(self, slot: str) -> None:
        """Remove the state of a finished training."""
        self._end(tables.Checkpoint.slot == slot)

    def end_checkpoints(self, study: str) -> None:
        """Remove the states of all trainings of a finished study, those that died on the way included."""
        self._end(tables.Checkpoint.study == study)

    @retry_on_disconnect
    def _end(self, which: ColumnElement[bool]) -> None:
        with self.session() as session, session.begin():
            artifacts = session.scalars(select(tables.Checkpoint.artifact).where(which)).all()
            session.execute(delete(tables.Checkpoint).where(which))
            files = [self._delete_unused(session, artifact) for artifact in artifacts]
        for file in files:
            if file is not None:
                self._delete_file(file)

    def _delete_unused(self, session: Session, artifact: str) -> tables.Artifact | None:
        """Delete a state in a transaction, unless a training refers to it; return the row that names its file."""
        c = tables.Checkpoint
        used = session.scalar(select(c.slot).where(c.artifact == artifact).limit(1))
        return None if used is not None else self._delete_row(session, artifact)
