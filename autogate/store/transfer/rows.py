"""A study as plain rows, each a kind and JSON-ready values, in an order in which they can be stored again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from autogate.policy import DENSE
from autogate.store import tables
from autogate.store.store import Store
from autogate.store.studies import facts_of
from autogate.store.transfer.optuna_study import optuna_rows

Row = tuple[str, dict[str, Any]]

# What studies share comes first, under its own identity; then what belongs to the study.
SHARED: dict[str, type[tables.Base]] = {
    "space": tables.Space,
    "device": tables.Device,
    "profile": tables.Profile,
    "sample": tables.Sample,
    "form": tables.Form,
    "policy": tables.Policy,
    "evaluation": tables.Evaluation,
}
OWN: dict[str, type[tables.Base]] = {
    "study": tables.Study,
    "trial": tables.Trial,
    "prediction": tables.Prediction,
    "front": tables.FrontPoint,
    "finalist": tables.Finalist,
    "measurement": tables.Measurement,
}
ARTIFACT = "artifact"
PART_BYTES = 2**20
# What means something in one database only.
LEFT_OUT = {"evaluation": ("id",), "study": ("host",)}


def study_rows(store: Store, study: str) -> Iterator[Row]:
    """Yield everything that makes up a study.

    Args:
        store: The database it is in.
        study: Its name.

    Raises:
        StorageError: If weights are missing.
    """
    with store.session() as session:
        row = session.get_one(tables.Study, study)
        queries, artifacts = _queries(session, row)
    for sha256 in sorted(artifacts):
        yield from _artifact_rows(store, sha256)
    with store.session() as session:
        for kind, query in queries.items():
            for found in session.scalars(query):
                yield kind, _values(kind, found)
    yield from optuna_rows(store, study)


def weights_of(session: Session, row: tables.Study) -> set[str]:
    """Return the SHA-256 of all weights that a study refers to, but for those of evaluations."""
    finalists = select(tables.Finalist.artifact).where(tables.Finalist.study == row.name)
    return {*facts_of(row).artifacts, *session.scalars(finalists)}


def _queries(session: Session, row: tables.Study) -> tuple[dict[str, Select[Any]], set[str]]:
    t, e = tables, tables.Evaluation
    own = {kind: select(table).filter_by(study=row.name) for kind, table in OWN.items() if kind != "study"}
    trials = set(session.scalars(select(t.Trial.policy).filter_by(study=row.name)))
    predicted = set(session.scalars(select(t.Prediction.policy).filter_by(study=row.name)))
    policies = (trials | predicted | {DENSE.digest}) - {None}
    task = facts_of(row).task_digest
    evaluations = select(e).where(e.task == task, e.policy.in_(policies)).order_by(e.id)
    profiles = set(session.scalars(select(t.Prediction.profile).filter_by(study=row.name))) | {row.profile}
    devices = select(t.Profile.device).where(t.Profile.digest.in_(profiles))
    artifacts = weights_of(session, row)
    artifacts |= {found.artifact for found in session.scalars(evaluations) if found.artifact is not None}
    return {
        "space": select(t.Space).where(t.Space.digest == row.space),
        "device": select(t.Device).where(t.Device.digest.in_(devices)),
        "profile": select(t.Profile).where(t.Profile.digest.in_(profiles)),
        "sample": select(t.Sample).where(t.Sample.profile.in_(profiles)),
        "form": select(t.Form).where(t.Form.profile.in_(profiles)),
        "policy": select(t.Policy).where(t.Policy.digest.in_(policies)),
        "evaluation": evaluations,
        "study": select(t.Study).where(t.Study.name == row.name),
        **own,
    }, artifacts


def _values(kind: str, row: tables.Base) -> dict[str, Any]:
    return {
        column.key: getattr(row, column.key)
        for column in row.__table__.columns
        if column.key not in LEFT_OUT.get(kind, ())
    }


def _artifact_rows(store: Store, sha256: str) -> Iterator[Row]:
    """Yield weights in parts, since a line of a file should not be too long."""
    content, kind = store.artifact(sha256), store.artifact_kind(sha256)
    for start in range(0, max(1, len(content)), PART_BYTES):
        part = content[start : start + PART_BYTES]
        last = start + PART_BYTES >= len(content)
        yield (
            ARTIFACT,
            {
                "sha256": sha256,
                "kind": kind,
                "content": base64.b64encode(part).decode("ascii"),
                "last": last,
            },
        )
