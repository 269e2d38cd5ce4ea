"""Weights: where they lie, or they themselves."""

from __future__ import annotations

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from autogate.store.tables.base import Base


class Artifact(Base):
    """Weights under the SHA-256 of their content; without a path, they are in the database."""

    __tablename__ = "autogate_artifacts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    size_bytes: Mapped[int]
    path: Mapped[str | None]


class ArtifactPart(Base):
    """A piece of weights that are in the database; in pieces, because no row may be very large."""

    __tablename__ = "autogate_artifact_parts"

    sha256: Mapped[str] = mapped_column(ForeignKey("autogate_artifacts.sha256"), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(LargeBinary)
