"""Checkpoints: the latest state of each unfinished training."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from autogate.store import tables
from autogate.store.artifacts import Artifacts
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
        artifact = self.add_artifact(KIND, content)
        row = tables.Checkpoint(slot=slot, study=study, artifact=artifact, images=images, saved_utc=now_utc())
        try:
            with self.session() as session, session.begin():
                before = session.scalar(select(tables.Checkpoint.artifact).where(tables.Checkpoint.slot == slot))
                session.merge(row)
        except IntegrityError as error:
            raise self._refused(study, error) from None
        if before is not None and before != artifact:
            self._delete_unused(before)

    @retry_on_disconnect
    def end_checkpoints(self, slot: str) -> None:
        """Remove the state of a finished training."""
        with self.session() as session, session.begin():
            artifact = session.scalar(select(tables.Checkpoint.artifact).where(tables.Checkpoint.slot == slot))
            session.execute(delete(tables.Checkpoint).where(tables.Checkpoint.slot == slot))
        if artifact is not None:
            self._delete_unused(artifact)

    def _delete_unused(self, artifact: str) -> None:
        with self.session() as session:
            used = session.scalar(select(tables.Checkpoint.slot).where(tables.Checkpoint.artifact == artifact).limit(1))
            there = session.get(tables.Artifact, artifact) is not None
        if used is None and there:
            self.delete_artifact(artifact)
