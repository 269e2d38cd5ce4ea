"""Databases of every released schema: upgraded, with nothing lost, and used on."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, event

from autogate import api
from autogate.errors import StorageError
from autogate.latency.profile import from_lines
from autogate.records import StudyFacts
from autogate.store import Store
from autogate.store.tables import SCHEMA_VERSION, VERSION_TABLE, Base
from autogate.store.views import VIEWS
from tests.support.databases import RELEASED, execute, released

OLDER = range(1, SCHEMA_VERSION)


@pytest.fixture
def schema_1(tmp_path: Path) -> str:
    return released(1, tmp_path / "old")


@pytest.fixture
def schema_1_on_postgres(schema_1: str, postgres: str) -> str:
    """Return a server's database with the tables and rows of schema 1."""
    source, target = sqlalchemy.create_engine(schema_1), sqlalchemy.create_engine(postgres)
    found = MetaData()
    event.listen(
        found, "column_reflect", lambda inspector, table, column: column.update(type=column["type"].as_generic())
    )
    found.reflect(source)
    found.create_all(target)
    with source.connect() as rows, target.begin() as connection:
        for table in found.sorted_tables:
            if content := [dict(row) for row in rows.execute(sqlalchemy.select(table)).mappings()]:
                connection.execute(table.insert(), content)
    source.dispose()
    target.dispose()
    return postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.e2e)])
def older(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database of schema 1, of each kind."""
    return str(request.getfixturevalue({"sqlite": "schema_1", "postgres": "schema_1_on_postgres"}[request.param]))


@pytest.fixture
def goldnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the network with which the databases were made be found."""
    monkeypatch.syspath_prepend(str(RELEASED))
    yield
    sys.modules.pop("goldnet", None)


def written(column: str, table: str) -> list[object]:
    """Return a column of the released database as it was written."""
    connection = sqlite3.connect(RELEASED / "schema_1" / "studies.db")
    try:
        return [row[0] for row in connection.execute(f"select {column} from {table}").fetchall()]  # noqa: S608
    finally:
        connection.close()


def check_facts(found: StudyFacts, before: dict[str, Any]) -> None:
    """Check that everything that was known before is known still, under its new name."""
    task, target, dense = found.task, found.target, found.dense
    assert task is not None
    assert target is not None
    assert dense is not None
    assert task.preprocessing is not None
    known = {
        "task": task.digest,
        "methods": list(task.training_functions),
        "val_images": task.val_images,
        "preprocessing": task.preprocessing.to_json(),
        "class_names": list(task.class_names),
        "profile": target.profile,
        "latency_model": target.latency_model,
        "foreign": target.foreign,
        "left_out": list(target.unpaying_gates),
        "setting": target.setting.to_json(),
        "dense_predicted_ms": target.dense_latency_ms,
        "budget_ms_search": target.budget_ms,
        "budget_binding": target.budget_binding,
        "dense": asdict(dense),
        "dense_artifact": found.dense_artifact,
        "shared_artifact": found.shared_artifact,
        "sensitivity": [[one.decision, one.choice, one.loss_increase] for one in found.sensitivity],
        "short_floor": found.short_floor,
        "seconds": dict(found.stage_seconds or {}),
        "ended": found.ended,
    }
    assert set(before) <= set(known)
    for key, value in before.items():
        if key == "dense":
            assert {part: known[key][part] for part in value} == value
        else:
            assert known[key] == value


def test_every_older_schema_has_a_database_here() -> None:
    assert [(RELEASED / f"schema_{version}" / "studies.db").exists() for version in OLDER] == [True] * len(OLDER)


def test_older_schemas_are_refused_with_the_command_that_helps(schema_1: str, tmp_path: Path) -> None:
    before = (tmp_path / "old" / "studies.db").read_bytes()
    for create in (True, False):
        with pytest.raises(StorageError, match="has schema 1, .* run `autogate studies upgrade --storage") as raised:
            Store(schema_1, create=create)
        assert "\n" not in str(raised.value)
    assert (tmp_path / "old" / "studies.db").read_bytes() == before


def test_upgrading_keeps_everything(older: str) -> None:
    assert api.upgrade_studies(storage=older).to_json()["from"] == 1
    store = Store(older)
    assert store.study_names() == written("name", "autogate_studies")
    for name, config, facts in zip(
        *(written(column, "autogate_studies") for column in ("name", "config", "facts")), strict=True
    ):
        record = store.study(str(name))
        assert {key: record.config.to_json()[key] for key in json.loads(str(config))} == json.loads(str(config))
        check_facts(record.facts, {**json.loads(str(facts)), "latency_model": "1"})
    trials = [trial for name in store.study_names() for trial in store.trials(name)]
    assert [trial.number for trial in trials] == written("number", "autogate_trials")
    assert [trial.policy.digest for trial in trials] == written("policy", "autogate_trials")
    assert [trial.val_accuracy for trial in trials] == written("val_accuracy", "autogate_trials")
    assert [trial.reason for trial in trials] == written("reason", "autogate_trials")
    for new, old in (("predicted", "predicted"), ("costs", "costs")):
        assert [getattr(trial, new) for trial in trials] == [json.loads(v) for v in written(old, "autogate_trials")]
    finalists = [finalist for name in store.study_names() for finalist in store.finalists(name)]
    assert [f.policy.digest for f in finalists] == written("policy", "autogate_finalists")
    assert [f.costs for f in finalists] == [json.loads(v) for v in written("costs", "autogate_finalists")]
    assert [f.predicted for f in finalists] == [json.loads(v) for v in written("predicted", "autogate_finalists")]
    [lines], [identity] = written("lines", "autogate_profiles"), written("digest", "autogate_profiles")
    assert store.profile(str(identity)) == from_lines(str(lines), "what was stored")
    # What a study had reached after each trial was not kept then, and is worked out.
    for name in store.study_names():
        assert [front.trial for front in store.fronts(name)] == [trial.number for trial in store.trials(name)]
    assert api.upgrade_studies(storage=older).to_json() == {
        "schema": "autogate.upgrade/1",
        "storage": store.shown_url,
        "from": SCHEMA_VERSION,
        "to": SCHEMA_VERSION,
    }


def test_upgraded_databases_have_the_tables_of_new_ones(older: str) -> None:
    api.upgrade_studies(storage=older)
    engine = sqlalchemy.create_engine(older)
    ours = {*Base.metadata.tables}
    with engine.connect() as connection:
        options = {
            # SQLite keeps the types with which tables were first made, and does not mind them.
            "compare_type": engine.name != "sqlite",
            "version_table": VERSION_TABLE + "_none",
            "include_name": lambda name, kind, parents: kind != "table" or name in ours,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        assert set(VIEWS) <= set(sqlalchemy.inspect(connection).get_view_names())
    engine.dispose()


def test_a_database_that_cannot_be_upgraded_stays_as_it_is(older: str) -> None:
    execute(older, "update autogate_profiles set lines = 'no lines'")
    with pytest.raises(StorageError, match="holds a row that cannot be read .*; nothing was changed") as raised:
        api.upgrade_studies(storage=older)
    assert "\n" not in str(raised.value)
    engine = sqlalchemy.create_engine(older)
    inspected = sqlalchemy.inspect(engine)
    assert "autogate_trials" in inspected.get_table_names()
    assert VERSION_TABLE not in inspected.get_table_names()
    with engine.connect() as connection:
        numbers = connection.exec_driver_sql("select number from autogate_trials order by study, number").scalars()
        assert list(numbers) == written("number", "autogate_trials")
    engine.dispose()


def test_there_is_nothing_to_upgrade_in_other_databases(storage: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no study database"):
        api.upgrade_studies(storage=storage)
    (tmp_path / "studies.db").touch()
    with pytest.raises(StorageError, match="holds no AutoGate study"):
        api.upgrade_studies(storage=storage)


def test_schema_2_gains_tables_and_loses_nothing(tmp_path: Path) -> None:
    url = released(2, tmp_path / "old")

    def rows() -> dict[str, list[object]]:
        connection = sqlite3.connect(tmp_path / "old" / "studies.db")
        names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        found = {name: connection.execute(f"select * from {name} order by rowid").fetchall() for name in names}  # noqa: S608
        connection.close()
        return found

    changed = {
        VERSION_TABLE,
        "autogate_meta",
        "autogate_front_history",
        "autogate_studies",
        "autogate_finalists",
    }
    before = rows()
    assert api.upgrade_studies(storage=url).to_json()["to"] == SCHEMA_VERSION
    after = rows()
    assert set(after) - set(before) == {"autogate_jobs", "autogate_workers", "autogate_checkpoints"}
    assert {name: after[name] for name in before if name not in changed} == {
        name: found for name, found in before.items() if name not in changed
    }
    # Finalists gain what they were measured with, and the verdict; neither was kept then.
    assert [row[:-2] for row in after["autogate_finalists"]] == before["autogate_finalists"]
    assert {row[-2:] for row in after["autogate_finalists"]} == {(None, None)}
    store = Store(url)
    assert store.study_names() == ["budget", "largest drop"]
    connection = sqlite3.connect(RELEASED / "schema_2" / "studies.db")
    stored = connection.execute("select name, facts, profile, latency_model from autogate_studies").fetchall()
    connection.close()
    for name, facts, profile, model in stored:
        check_facts(store.study(name).facts, {**json.loads(facts), "profile": profile, "latency_model": model})


@pytest.mark.parametrize("schema", OLDER)
def test_a_study_on_its_way_to_another_device_can_be_read(schema: int, tmp_path: Path) -> None:
    url = released(schema, tmp_path / "old")
    # A resume for another device forgets the profile first; it may have ended there.
    column = "facts = json_remove(facts, '$.profile', '$.latency_model')" if schema == 1 else "profile = null"
    execute(url, f"update autogate_studies set {column}")  # noqa: S608
    api.upgrade_studies(storage=url)
    store = Store(url)
    for name in store.study_names():
        facts = store.study(name).facts
        assert facts.target is None
        assert facts.task is not None
        assert facts.dense is not None
    assert {study.name for study in api.list_studies(storage=url)} == set(store.study_names())
    api.vacuum_studies(storage=url)
