"""AutoGate's tables; they live beside Optuna's in one database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1


class Base(DeclarativeBase):
    """Declarative base of all tables; JSON columns hold plain data."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Meta(Base):
    """One row: the version of the schema."""

    __tablename__ = "autogate_meta"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class Study(Base):
    """One search: its resolved configuration, and facts found out when it started."""

    __tablename__ = "autogate_studies"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    config: Mapped[dict[str, Any]]
    facts: Mapped[dict[str, Any]]
    created_utc: Mapped[str] = mapped_column(String(40))


class Policy(Base):
    """A policy by its digest."""

    __tablename__ = "autogate_policies"

    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    body: Mapped[dict[str, Any]]


class Profile(Base):
    """A latency profile as its JSON lines."""

    __tablename__ = "autogate_profiles"

    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    model: Mapped[str] = mapped_column(String(200))
    setting: Mapped[dict[str, Any]]
    lines: Mapped[str]
    created_utc: Mapped[str] = mapped_column(String(40))


class Evaluation(Base):
    """An accuracy under its unique key; committed before the trial that asked for it is told."""

    __tablename__ = "autogate_evaluations"
    __table_args__ = (UniqueConstraint("policy", "task", "recipe", "fidelity", "seed"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"))
    task: Mapped[str] = mapped_column(String(16))
    recipe: Mapped[str] = mapped_column(String(16))
    fidelity: Mapped[str] = mapped_column(String(16))
    seed: Mapped[int]
    val_accuracy: Mapped[float]
    realisation: Mapped[dict[str, Any]]
    seconds: Mapped[float]
    artifact: Mapped[str | None] = mapped_column(ForeignKey("autogate_artifacts.sha256"))


class Trial(Base):
    """What became of one proposal of a study."""

    __tablename__ = "autogate_trials"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(String(10))
    policy: Mapped[str | None] = mapped_column(ForeignKey("autogate_policies.digest"))
    val_accuracy: Mapped[float | None]
    predicted: Mapped[dict[str, Any] | None]
    costs: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None]
    seconds: Mapped[float]


class Finalist(Base):
    """A policy that was fully trained, scored on the test images, and measured beside dense if the target is here."""

    __tablename__ = "autogate_finalists"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"), primary_key=True)
    profile: Mapped[str] = mapped_column(String(16), primary_key=True)
    trial: Mapped[int]
    val_accuracy: Mapped[float]
    test_accuracy: Mapped[float]
    costs: Mapped[dict[str, Any]]
    predicted: Mapped[dict[str, Any]]
    comparison: Mapped[dict[str, Any] | None]
    realisation: Mapped[dict[str, Any]]
    artifact: Mapped[str] = mapped_column(ForeignKey("autogate_artifacts.sha256"))


class Artifact(Base):
    """A file of weights, stored under its SHA-256 beside the database."""

    __tablename__ = "autogate_artifacts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    size_bytes: Mapped[int]
