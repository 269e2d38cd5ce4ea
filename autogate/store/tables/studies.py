"""Studies: what was asked for, what was tried, what came out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from autogate.store.tables.base import Base


class Space(Base):
    """A search space, resolved, by its digest."""

    __tablename__ = "autogate_spaces"

    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    body: Mapped[dict[str, Any]]


class Study(Base):
    """One search: its resolved configuration, and facts found out when it started.

    What has a column of its own is not in the JSON as well.
    """

    __tablename__ = "autogate_studies"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    config: Mapped[dict[str, Any]]
    facts: Mapped[dict[str, Any]]
    created_utc: Mapped[str] = mapped_column(String(40))
    space: Mapped[str | None] = mapped_column(ForeignKey("autogate_spaces.digest"))
    latency_stat: Mapped[str | None] = mapped_column(String(8))
    profile: Mapped[str | None] = mapped_column(String(16))
    latency_model: Mapped[str | None] = mapped_column(String(40))
    code_version: Mapped[str | None] = mapped_column(String(40))
    host: Mapped[str | None] = mapped_column(String(200))


class Trial(Base):
    """What became of one proposal of a study."""

    __tablename__ = "autogate_trial_records"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    outcome: Mapped[str] = mapped_column(String(10))
    policy: Mapped[str | None] = mapped_column(ForeignKey("autogate_policies.digest"))
    val_accuracy: Mapped[float | None]
    macs_paper: Mapped[int | None]
    peak_memory_bytes: Mapped[int | None]
    reason: Mapped[str | None]
    seconds: Mapped[float]
    finished_utc: Mapped[str | None] = mapped_column(String(40))


class FrontPoint(Base):
    """What a study had reached when a trial ended: its front, the area under it, the best within the budget."""

    __tablename__ = "autogate_front_history"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    trial: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    profile: Mapped[str] = mapped_column(String(16), primary_key=True)
    hypervolume: Mapped[float]
    best_trial: Mapped[int | None]
    best_val_accuracy: Mapped[float | None]
    front: Mapped[list[Any]]


class Finalist(Base):
    """A policy that was fully trained, and scored on the test images."""

    __tablename__ = "autogate_finalists"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"), primary_key=True)
    profile: Mapped[str] = mapped_column(String(16), primary_key=True)
    trial: Mapped[int]
    val_accuracy: Mapped[float]
    test_accuracy: Mapped[float]
    macs_paper: Mapped[int | None]
    macs_realisable: Mapped[int | None]
    params: Mapped[int | None]
    peak_memory_bytes: Mapped[int | None]
    dense_peak_memory_bytes: Mapped[int | None]
    energy: Mapped[dict[str, Any] | None]
    realisation: Mapped[dict[str, Any]]
    artifact: Mapped[str] = mapped_column(ForeignKey("autogate_artifacts.sha256"))
    ratio: Mapped[float | None]
    ratio_low: Mapped[float | None]
    ratio_high: Mapped[float | None]
    setting: Mapped[dict[str, Any] | None]
    plan: Mapped[dict[str, Any] | None]
    verdict: Mapped[dict[str, Any] | None]
