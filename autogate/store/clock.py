"""The database's clock: the only one that all hosts of a study share."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Float, func, literal_column
from sqlalchemy.orm import Session


def clock(session: Session) -> ColumnElement[float]:
    """Return an expression for the database's time, in seconds since 1970."""
    if session.get_bind().dialect.name == "sqlite":
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
    return func.extract("epoch", func.clock_timestamp()).cast(Float)
