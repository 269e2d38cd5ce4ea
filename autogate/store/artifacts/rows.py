"""Weights as rows of the database itself, for hosts that share nothing else."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from autogate.store.tables import ArtifactPart

_PART_BYTES = 8 * 2**20


def write_parts(session: Session, sha256: str, content: bytes) -> None:
    """Add ``content`` as pieces; the caller commits."""
    for part, start in enumerate(range(0, max(1, len(content)), _PART_BYTES)):
        session.add(ArtifactPart(sha256=sha256, part=part, content=content[start : start + _PART_BYTES]))
        session.flush()
        session.expunge_all()


def read_parts(session: Session, sha256: str) -> bytes | None:
    """Return the content of all pieces, or None if there are none."""
    query = select(ArtifactPart.content).where(ArtifactPart.sha256 == sha256).order_by(ArtifactPart.part)
    parts = list(session.scalars(query))
    return b"".join(parts) if parts else None


def delete_parts(session: Session, sha256: str) -> None:
    """Remove all pieces; the caller commits."""
    session.execute(delete(ArtifactPart).where(ArtifactPart.sha256 == sha256))
