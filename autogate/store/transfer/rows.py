"""A study as plain rows, each a kind and JSON-ready values, in an order in which they can be stored again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Column, Select, select
from sqlalchemy.orm import Session

from autogate.policy import DENSE
from autogate.store import tables
from autogate.store.store import Store
from autogate.store.studies import facts_of
from autogate.store.transfer.optuna_study import optuna_rows

Row = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class TableRole:
    """What becomes of a table's rows when studies move, or go.

    Attributes:
        table: The table.
        role: ``shared`` rows are copied with every study that needs them, and outlive it; a study's ``own`` rows are
            copied and deleted with it; ``work`` is of the moment: deleted with the study, never copied; ``weights`` are
            copied by their content; ``database`` rows say something about the database itself.
        kind: Name of the rows in transfers; empty if they are not copied as rows.
        stays: Whether cleaning the database leaves shared rows that no study uses; what cleans is in vacuum.py.
    """

    table: type[tables.Base]
    role: Literal["shared", "own", "work", "weights", "database"]
    kind: str = ""
    stays: bool = False


# Every table, in an order in which rows can be stored again: a row comes after those it refers to.
TABLE_ROLES = (
    TableRole(tables.SchemaVersion, "database"),
    TableRole(tables.Meta, "database"),
    TableRole(tables.Artifact, "weights"),
    TableRole(tables.ArtifactPart, "weights"),
    TableRole(tables.Space, "shared", "space"),
    TableRole(tables.Device, "shared", "device", stays=True),
    TableRole(tables.Profile, "shared", "profile", stays=True),
    TableRole(tables.Sample, "shared", "sample", stays=True),
    TableRole(tables.Form, "shared", "form", stays=True),
    TableRole(tables.Policy, "shared", "policy"),
    TableRole(tables.Evaluation, "shared", "evaluation"),
    TableRole(tables.Study, "own", "study"),
    TableRole(tables.Trial, "own", "trial"),
    TableRole(tables.Prediction, "own", "prediction"),
    TableRole(tables.FrontPoint, "own", "front"),
    TableRole(tables.Finalist, "own", "finalist"),
    TableRole(tables.Measurement, "own", "measurement"),
    TableRole(tables.Job, "work"),
    TableRole(tables.Worker, "work"),
    TableRole(tables.Checkpoint, "work"),
)
SHARED = {one.kind: one.table for one in TABLE_ROLES if one.role == "shared"}
OWN = {one.kind: one.table for one in TABLE_ROLES if one.role == "own"}
WORK = tuple(one.table for one in TABLE_ROLES if one.role == "work")
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
    """Return the SHA-256 of all weights that a study refers to, but for those of evaluations and of running work."""
    return set(facts_of(row).artifacts) | _named_by_own_rows(session, row, tables.Artifact)


def references(target: type[tables.Base]) -> list[Column[Any]]:
    """Return all columns of all tables that refer to a table's key."""
    return [
        column
        for table in tables.Base.metadata.sorted_tables
        for column in table.columns
        if any(key.column.table is target.__table__ for key in column.foreign_keys)
    ]


def _named_by_own_rows(session: Session, row: tables.Study, target: type[tables.Base]) -> set[str]:
    """Return the keys of ``target`` that rows of the study's own refer to."""
    own = [table.__table__ for kind, table in OWN.items() if kind != "study"]
    found: set[str] = set()
    for column in references(target):
        if column.table in own:
            found |= set(session.scalars(select(column).where(column.table.c.study == row.name)))
    return found - {None}


def _queries(session: Session, row: tables.Study) -> tuple[dict[str, Select[Any]], set[str]]:
    t, e = tables, tables.Evaluation
    own = {kind: select(table).filter_by(study=row.name) for kind, table in OWN.items() if kind != "study"}
    policies = _named_by_own_rows(session, row, t.Policy) | {DENSE.digest}
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
