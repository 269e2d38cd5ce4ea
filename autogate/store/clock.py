"""The database's clock: the only one that all hosts of a study share."""

from __future__ import annotations

import datetime

from sqlalchemy import ColumnElement, Float, func, literal_column, select
from sqlalchemy.orm import Session


def clock(session: Session) -> ColumnElement[float]:
    """Return an expression for the database's time, in seconds since 1970."""
    if session.get_bind().dialect.name == "sqlite":
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
    return func.extract("epoch", func.clock_timestamp()).cast(Float)


def clock_utc(session: Session) -> str:
    """Return the database's time as it is stored."""
    seconds = session.scalars(select(clock(session))).one()
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")
