"""Work that is shared out: what is to be trained, by whom it is held, and how far it has come."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from autogate.store.tables.base import Base


class Job(Base):
    """An evaluation that is wanted, under the key it will have; gone when the evaluation is there.

    A worker holds it under a lease that ends by the database's clock, in seconds since 1970, unless it is renewed.
    """

    __tablename__ = "autogate_jobs"
    __table_args__ = (UniqueConstraint("policy", "task", "recipe", "fidelity", "seed"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"))
    task: Mapped[str] = mapped_column(String(16))
    recipe: Mapped[str] = mapped_column(String(16))
    fidelity: Mapped[str] = mapped_column(String(16))
    seed: Mapped[int]
    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"))
    trial: Mapped[int]
    attempts: Mapped[int]
    holder: Mapped[str | None] = mapped_column(String(64))
    expires_s: Mapped[float | None]
    failure: Mapped[str | None]


class Worker(Base):
    """A process that trains for a study; it is taken for gone when it was not seen for the length of a lease."""

    __tablename__ = "autogate_workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"))
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    device: Mapped[str] = mapped_column(String(40))
    code_version: Mapped[str] = mapped_column(String(40))
    joined: Mapped[bool]
    seen_s: Mapped[float]
    doing: Mapped[str | None] = mapped_column(String(200))


class Checkpoint(Base):
    """How far a training has come: the state to go on from."""

    __tablename__ = "autogate_checkpoints"

    slot: Mapped[str] = mapped_column(String(16), primary_key=True)
    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"))
    artifact: Mapped[str] = mapped_column(ForeignKey("autogate_artifacts.sha256"))
    images: Mapped[int]
    saved_utc: Mapped[str] = mapped_column(String(40))
