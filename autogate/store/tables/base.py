"""What all tables share, and the version of the schema."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 4
VERSION_TABLE = "autogate_schema_version"


class Base(DeclarativeBase):
    """Declarative base of all tables; JSON columns hold plain data, whole numbers may be large."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, int: BigInteger}  # noqa: RUF012


class SchemaVersion(Base):
    """One row: the version of the schema, as Alembic keeps it."""

    __tablename__ = VERSION_TABLE

    version_num: Mapped[str] = mapped_column(String(32), primary_key=True)


class Meta(Base):
    """Facts about the database: where its weights lie; and the schema, for versions that know schema 1 only."""

    __tablename__ = "autogate_meta"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(1000))
