"""Every table has a place in copying, exporting, deleting and cleaning: a new one that has none fails here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from autogate import api
from autogate.policy import DENSE
from autogate.records import EvaluationKey
from autogate.store import Store, tables
from autogate.store.transfer.rows import TABLE_ROLES
from tests.support.databases import execute

STUDY = "budget"
TABLES = tables.Base.metadata.sorted_tables
ROLE = {one.table.__table__: one for one in TABLE_ROLES}
# What means something in one database only: keys it gives itself, hosts, and where weights lie.
OF_ONE_DATABASE = {"evaluation": ("id",), "study": ("host",)}


@pytest.fixture
def full(postgres: str, upgraded: str) -> str:
    """Return the URL of a database with one study that has rows in every table.

    A new table needs rows here: let a part of a study, or of a running one, write them.
    """
    Store(postgres, create=True)
    api.copy_study(STUDY, to=postgres, storage=upgraded)
    store = Store(postgres)
    finalist = store.finalists(STUDY)[0]
    with store.session() as session, session.begin():
        times = dict.fromkeys(("mean_ms", "p50_ms", "p95_ms", "max_ms", "low_ms", "high_ms"), 1.0)
        named = {"study": STUDY, "policy": finalist.policy.digest, "profile": finalist.profile}
        session.add(tables.Measurement(**named, **times, network="gated", inputs=1, repeats=1))
        session.add(tables.Meta(key="note", value="of this database"))
        profile = session.scalars(select(tables.Profile.digest)).first()
        session.add(tables.Form(profile=profile, position=0, unit="a unit", operators=["conv"]))
    store.add_worker("worker", STUDY, "cpu", "1.0", joined=True)
    store.add_job(EvaluationKey(DENSE.digest, "task", "recipe", "short", 0), STUDY, 0)
    store.save_checkpoint("slot", STUDY, b"a state", 10)
    # The worker was not seen for the length of a lease: it keeps nobody from anything.
    execute(postgres, "update autogate_workers set seen_s = seen_s - 1000")
    return postgres


def rows(url: str, table: Table) -> list[str]:
    """Return a table's rows as text, without what means something in one database only, in an order of their own."""
    kind = ROLE[table].kind
    left_out = OF_ONE_DATABASE.get(kind, ())
    with Store(url).session() as session:
        found = [dict(row) for row in session.execute(select(table)).mappings()]
    return sorted(str([(key, value) for key, value in row.items() if key not in left_out]) for row in found)


def content(url: str) -> dict[str, list[str]]:
    """Return the rows of all tables that are copied as rows."""
    return {table.name: rows(url, table) for table in TABLES if ROLE[table].kind}


def weights(url: str, kinds: tuple[str, ...] = ("dense", "shared", "finalist")) -> dict[str, bytes]:
    store = Store(url)
    return {sha256: store.artifact(sha256) for sha256 in store.artifacts() if store.artifact_kind(sha256) in kinds}


def count(url: str, table: Table) -> int:
    return len(rows(url, table))


def test_every_table_has_a_role_and_is_stored_after_what_it_refers_to() -> None:
    assert set(ROLE) == set(TABLES)
    order = list(ROLE)
    for table in TABLES:
        for key in table.foreign_keys:
            assert order.index(key.column.table) <= order.index(table)


def test_roles_agree_with_what_tables_refer_to() -> None:
    """A study's rows carry its name; what studies share cannot belong to one."""
    for table, role in ROLE.items():
        named = table is tables.Study.__table__ or "study" in table.columns
        assert named == (role.role in ("own", "work")), table.name
        assert bool(role.kind) == (role.role in ("own", "shared")), table.name


def test_the_study_of_these_tests_has_rows_in_every_table(full: str) -> None:
    assert [table.name for table in TABLES if count(full, table) == 0] == []


@pytest.mark.parametrize("way", ["copy", "file"])
def test_rows_of_every_table_travel(full: str, way: str, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there' / 'studies.db'}"
    if way == "copy":
        api.copy_study(STUDY, to=there, storage=full)
    else:
        api.export_study(STUDY, tmp_path / "study.jsonl", storage=full)
        api.import_study(tmp_path / "study.jsonl", storage=there)
    before = content(full)
    assert {name for name, found in before.items() if not found} == set()
    assert content(there) == before
    assert weights(there) == weights(full)
    left_behind = {table.name: count(there, table) for table, role in ROLE.items() if role.role == "work"}
    assert left_behind == dict.fromkeys(left_behind, 0)
    # And it can leave again, whole.
    api.copy_study(STUDY, to=there, name="again", storage=there)
    doubled = [table for table, role in ROLE.items() if role.role == "own"]
    assert [table.name for table in doubled if count(there, table) != 2 * count(full, table)] == []


def test_rows_of_every_table_go_with_the_study_or_when_the_database_is_cleaned(full: str) -> None:
    def empty() -> set[str]:
        return {table.name for table in TABLES if count(full, table) == 0}

    api.delete_study(STUDY, storage=full)
    assert empty() == {table.name for table, role in ROLE.items() if role.role in ("own", "work")}
    api.vacuum_studies(storage=full)
    stays = {table.name for table, role in ROLE.items() if role.role == "database" or role.stays}
    assert empty() == {table.name for table in TABLES} - stays


def test_cleaning_takes_nothing_that_a_study_uses(full: str) -> None:
    before: dict[str, Any] = {table.name: rows(full, table) for table in TABLES}
    removed = api.vacuum_studies(storage=full).to_json()
    assert {table.name: rows(full, table) for table in TABLES} == before
    assert (removed["evaluations"], removed["policies"], removed["weights"]) == (0, 0, 0)
