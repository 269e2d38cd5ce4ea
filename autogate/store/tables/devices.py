"""Devices, and what was measured of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from autogate.store.tables.base import Base


class Device(Base):
    """A piece of hardware by its own name."""

    __tablename__ = "autogate_device_records"

    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))


class Profile(Base):
    """Measurements from one device in one setting; the samples are rows of their own."""

    __tablename__ = "autogate_profiles"

    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("autogate_device_records.digest"))
    model: Mapped[str] = mapped_column(String(200))
    input_shape: Mapped[list[Any]]
    torch_device: Mapped[str] = mapped_column(String(40))
    batch_size: Mapped[int]
    dtype: Mapped[str] = mapped_column(String(20))
    layout: Mapped[str] = mapped_column(String(20))
    threads: Mapped[int]
    runtime: Mapped[str] = mapped_column(String(40))
    versions: Mapped[dict[str, Any]]
    card: Mapped[dict[str, Any]]
    method: Mapped[dict[str, Any] | None]
    created_utc: Mapped[str] = mapped_column(String(40))


class Sample(Base):
    """A time of a profile, in its order: of one unit in place, or of a whole network."""

    __tablename__ = "autogate_samples"

    profile: Mapped[str] = mapped_column(ForeignKey("autogate_profiles.digest"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    network: Mapped[int]
    latency_ms: Mapped[float]
    iqr_ms: Mapped[float]
    passes: Mapped[int]
    unit: Mapped[str | None]
    units: Mapped[list[Any] | None]
    policy: Mapped[dict[str, Any] | None]
    macs: Mapped[int | None]
    host_ms: Mapped[float | None]
    low_ms: Mapped[float | None]
    high_ms: Mapped[float | None]
    phase: Mapped[str | None] = mapped_column(String(16))
    decisions: Mapped[dict[str, Any] | None]
    executors: Mapped[dict[str, Any] | None]


class Form(Base):
    """What a unit executes in one of its forms: the operators, in order."""

    __tablename__ = "autogate_forms"

    profile: Mapped[str] = mapped_column(ForeignKey("autogate_profiles.digest"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    unit: Mapped[str]
    operators: Mapped[list[Any]]
