"""Policies, and what is known of them: accuracies, predicted and measured latencies."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from autogate.store.tables.base import Base


class Policy(Base):
    """A policy by its digest."""

    __tablename__ = "autogate_policies"

    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    execution_digest: Mapped[str] = mapped_column(String(16), server_default="")
    body: Mapped[dict[str, Any]]


class Evaluation(Base):
    """An accuracy under its unique key; committed before the trial that asked for it is told."""

    __tablename__ = "autogate_evaluations"
    __table_args__ = (UniqueConstraint("policy", "task", "recipe", "fidelity", "seed"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"))
    task: Mapped[str] = mapped_column(String(16))
    recipe: Mapped[str] = mapped_column(String(16))
    fidelity: Mapped[str] = mapped_column(String(16))
    seed: Mapped[int]
    val_accuracy: Mapped[float]
    macs_paper: Mapped[int | None]
    realisation: Mapped[dict[str, Any]]
    seconds: Mapped[float]
    artifact: Mapped[str | None] = mapped_column(ForeignKey("autogate_artifacts.sha256"))


class Prediction(Base):
    """What a latency model said of a policy in a study, in milliseconds; ``fidelity`` says whose decisions it used."""

    __tablename__ = "autogate_predictions"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"), primary_key=True)
    profile: Mapped[str] = mapped_column(String(16), primary_key=True)
    latency_model: Mapped[str] = mapped_column(String(40), primary_key=True)
    fidelity: Mapped[str] = mapped_column(String(16), primary_key=True)
    mean_ms: Mapped[float]
    p50_ms: Mapped[float]
    p95_ms: Mapped[float]
    max_ms: Mapped[float]
    upper_ms: Mapped[float]
    dense_ms: Mapped[float | None]


class Measurement(Base):
    """A latency measured in an interleaved run, in milliseconds: of the ``gated`` or the ``dense`` network."""

    __tablename__ = "autogate_measurements"

    study: Mapped[str] = mapped_column(ForeignKey("autogate_studies.name"), primary_key=True)
    policy: Mapped[str] = mapped_column(ForeignKey("autogate_policies.digest"), primary_key=True)
    profile: Mapped[str] = mapped_column(String(16), primary_key=True)
    network: Mapped[str] = mapped_column(String(8), primary_key=True)
    mean_ms: Mapped[float]
    p50_ms: Mapped[float]
    p95_ms: Mapped[float]
    max_ms: Mapped[float]
    low_ms: Mapped[float]
    high_ms: Mapped[float]
    inputs: Mapped[int]
    repeats: Mapped[int]
