"""Clean a database: what no study uses any more goes, and its space is freed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete, inspect, select, text
from sqlalchemy.orm import Session

from autogate.store import tables
from autogate.store.database import clear_errors
from autogate.store.store import Store
from autogate.store.studies import facts_of
from autogate.store.transfer.rows import references, weights_of
from autogate.store.urls import sqlite_path

_SQLITE = b"SQLite format 3\0"


def vacuum(store: Store) -> dict[str, int]:
    """Remove evaluations, policies and weights that no study uses; profiles stay, since later studies may.

    Returns how many of each went, and ``weights_bytes``.

    Raises:
        StorageError: If a study runs in the database.
    """
    with store.nothing_running():
        with store.session() as session, session.begin():
            evaluations = _delete_evaluations(session)
            policies = _delete_unused(session, tables.Policy)
            _delete_unused(session, tables.Space)
            used = _referred_to(session, tables.Artifact, but=tables.ArtifactPart)
            for study in session.scalars(select(tables.Study)):
                used |= weights_of(session, study)
        sizes = store.artifacts()
        unused = set(sizes) - used
        kept = _used_beside(store, unused)
        for sha256 in unused:
            store.delete_artifact(sha256, keep_file=sha256 in kept)
        with clear_errors(store.engine.url), store.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("vacuum"))
    freed = sum(sizes[sha256] for sha256 in unused - kept)
    return {"evaluations": evaluations, "policies": policies, "weights": len(unused), "weights_bytes": freed}


def _delete_evaluations(session: Session) -> int:
    """Remove evaluations that no study can use, and those with weights of policies that none tried.

    An accuracy alone is kept for as long as there is a study of its network and data, which may ask for it.
    """
    tasks: set[str] = set()
    tried: set[tuple[str, str]] = set()
    for study in session.scalars(select(tables.Study)):
        task = facts_of(study).task_digest
        tasks.add(task)
        policies = session.scalars(select(tables.Prediction.policy).filter_by(study=study.name))
        tried |= {(policy, task) for policy in policies}
    e = tables.Evaluation
    found = session.execute(select(e.id, e.policy, e.task, e.artifact)).all()
    unused = [
        row.id
        for row in found
        if row.task not in tasks or (row.artifact is not None and (row.policy, row.task) not in tried)
    ]
    for identity in unused:
        session.execute(delete(e).where(e.id == identity))
    return len(unused)


def _delete_unused(session: Session, table: type[tables.Base]) -> int:
    """Remove the rows of a table that no row of any table refers to, and return how many there were."""
    [key] = inspect(table).primary_key
    unused = set(session.scalars(select(key))) - _referred_to(session, table)
    for value in sorted(unused):
        session.execute(delete(table).where(key == value))
    return len(unused)


def _referred_to(session: Session, target: type[tables.Base], but: type[tables.Base] | None = None) -> set[str]:
    """Return the keys of a table that rows of any table refer to, ``but`` for those of one."""
    left_out = None if but is None else but.__table__
    columns = [column for column in references(target) if column.table is not left_out]
    return {str(key) for column in columns for key in session.scalars(select(column)) if key is not None}


def _used_beside(store: Store, unused: set[str]) -> set[str]:
    """Return which weights other databases of the same folder may use; those at a shared URL always may be."""
    if store.artifacts_url() is not None:
        return unused
    path = sqlite_path(store.engine.url)
    if path is None:
        return set()
    used: set[str] = set()
    for other in path.resolve().parent.iterdir():
        if other != path.resolve() and other.is_file() and _is_sqlite(other):
            used |= _weights_in(other)
    return unused & used


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _weights_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        try:
            return {str(row[0]) for row in connection.execute("select sha256 from autogate_artifacts")}
        except sqlite3.OperationalError:  # a database of another program
            return set()
