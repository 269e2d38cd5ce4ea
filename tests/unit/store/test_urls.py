"""Databases that cannot be used, and what is said of them: never a password."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from autogate.errors import StorageError
from autogate.records import StudyFacts
from autogate.store import Store, StudyRecord
from autogate.store.urls import parse_url, redact, redact_url, same_database
from tests.support.databases import SERVER_VARIABLE, execute, some_config

SECRET = "s3cret/pa@ss:word"  # noqa: S105


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter22@localhost:1/none",
        "postgresql+psycopg://me@localhost:1/none?password=hunter22",
        "postgresql+psycopg://localhost:1/none?user=me&password=hunter22&connect_timeout=2",
        "postgresql+psycopg://127.0.0.1:1/none?user=me&PASSWORD=hunter22",
        "postgresql+psycopg://127.0.0.1:1/none?user=me&dbPwd=hunter22",
        "postgresql+psycopg://127.0.0.1:1/none?user=me&api_token=hunter22&api_token=other",
        "postgresql+psycopg://me:hunter22@no-such-host.invalid/none",
        "postgresql+psycopg://me:hun@hunter22/x@localhost:1/none",
        "postgresql+psycopg://me:x@y/hunter22@localhost:1/none",
        "postgresql+psycopg://me:x@hunter22@localhost:1/none",
        "postgresql+psycopg://me:x/hunter22@localhost:1/none",
        "postgresql+nodriver://me:hunter22@localhost/none",
        "mysql://me:hunter22@localhost/none",
        "postgresql+psycopg://me:hunter22@localhost:port/none",
    ],
)
def test_passwords_are_not_shown(url: str) -> None:
    with pytest.raises(StorageError) as raised:
        Store(url, create=True)
    error: BaseException | None = raised.value
    assert "hunter22" not in str(error)
    assert "\n" not in str(error)


def test_what_is_hidden_of_a_url() -> None:
    url = URL.create("postgresql+psycopg", "me", SECRET, "db.example", 5432, "studies", {"sslpassword": "another"})
    assert redact_url(url) == "postgresql+psycopg://me:***@db.example:5432/studies?sslpassword=***"
    assert SECRET not in redact(f"cannot log in with {SECRET} or another", url)
    assert "another" not in redact("with another", url)
    assert redact_url(parse_url("sqlite:///studies/autogate.db")) == "sqlite:///studies/autogate.db"


@pytest.mark.parametrize("key", ["PASSWORD", "passfile", "Pwd", "client_secret", "access_token", "ApiKey"])
def test_which_keys_of_a_url_are_hidden(key: str) -> None:
    url = parse_url(f"postgresql+psycopg://me@db.example/studies?{key}=one&{key}=one-more&sslmode=require")
    assert redact_url(url) == f"postgresql+psycopg://me@db.example/studies?{key}=***&sslmode=require"
    assert redact("neither one-more nor one, with require", url) == "neither *** nor ***, with require"


@pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason="changes how the server lets users in")
def test_a_wrong_password(postgres: str) -> None:
    name = make_url(postgres).database
    execute(postgres, f"create role {name} login password '{SECRET}'")
    [hba] = rows(postgres, "show hba_file")
    before = Path(hba).read_text(encoding="utf-8")
    rule = f"local all {name} scram-sha-256\nhost all {name} all scram-sha-256\n"
    try:
        Path(hba).write_text(rule + before, encoding="utf-8")
        execute(postgres, "select pg_reload_conf()", f"grant all on schema public to {name}")
        right = make_url(postgres).set(username=name, password=SECRET)
        wrong = right.set(password="wrong-password")  # noqa: S106
        with pytest.raises(StorageError, match="password authentication failed") as raised:
            Store(wrong.render_as_string(hide_password=False), create=True)
        assert "wrong-password" not in str(raised.value)
        store = Store(right.render_as_string(hide_password=False), create=True)
        assert "***" in store.shown_url
        assert SECRET not in store.command("resume", "first")
        store.engine.dispose()
    finally:
        Path(hba).write_text(before, encoding="utf-8")
        execute(postgres, "select pg_reload_conf()", f"drop owned by {name}", f"drop role {name}")


def rows(url: str, query: str) -> list[str]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = [str(value) for value in connection.exec_driver_sql(query).scalars()]
    engine.dispose()
    return found


def read_only(url: str) -> str:
    """Return a URL at which the same database can only be read."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return f"sqlite:///file:{parsed.database}?mode=ro&uri=true"
    return parsed.update_query_dict({"options": "-c default_transaction_read_only=on"}).render_as_string(
        hide_password=False
    )


def test_read_only_databases_are_read(anywhere: str) -> None:
    store = Store(anywhere, create=True)
    store.create_study("first", some_config())
    store.engine.dispose()
    if anywhere.startswith("sqlite"):
        execute(anywhere, "pragma journal_mode=delete")
    reader = Store(read_only(anywhere))
    assert reader.study("first") == StudyRecord(some_config(), StudyFacts())
    with pytest.raises(StorageError, match="cannot use the database .*read-?only") as raised:
        reader.create_study("second", some_config())
    assert "\n" not in str(raised.value)
    reader.engine.dispose()


def test_a_file_where_nothing_can_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'a study.db'}"
    store = Store(url, create=True)
    store.create_study("first", some_config())
    store.engine.dispose()
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("autogate.store.database.os.access", lambda path, mode: False)
    reader = Store(url)
    assert reader.study("first") == StudyRecord(some_config(), StudyFacts())
    # With its write-ahead log, SQLite would have written beside it.
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    with pytest.raises(StorageError, match="readonly"):
        reader.create_study("second", some_config())
    reader.engine.dispose()


def test_a_file_that_was_not_closed_cannot_be_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    store = Store(url, create=True)
    store.create_study("first", some_config())
    monkeypatch.setattr("autogate.store.database.os.access", lambda path, mode: False)
    with pytest.raises(StorageError, match="it was not closed, and .* cannot be written; copy it and a.db-wal"):
        Store(url)
    store.engine.dispose()


def test_a_read_only_place_for_a_new_database(anywhere: str) -> None:
    if anywhere.startswith("sqlite"):
        Path(anywhere.removeprefix("sqlite:///")).touch()
    with pytest.raises(StorageError, match="cannot use the database .*read-?only"):
        Store(read_only(anywhere), create=True)


def test_a_server_database_of_another_program_stays_as_it_is(postgres: str) -> None:
    execute(postgres, "create table recipes (name text)")
    with pytest.raises(StorageError, match="is a database of another program; give AutoGate another one"):
        Store(postgres, create=True)
    assert rows(postgres, "select tablename from pg_tables where schemaname = 'public'") == ["recipes"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sqlite:///a.db", "sqlite:///./b/../a.db", True),
        ("sqlite:///a.db", "sqlite:///b.db", False),
        ("postgresql://h/d", "postgresql+psycopg://me:secret@h:5432/d", True),
        ("postgresql://h/d", "postgresql:///d?host=h&port=5432", True),
        ("postgresql://h/d", "postgresql://h:5433/d", False),
        ("postgresql://h/d", "postgresql://h/e", False),
        ("postgresql://h/d", "sqlite:///d", False),
    ],
)
def test_which_urls_name_one_database(one: str, other: str, same: bool) -> None:
    assert same_database(make_url(one), make_url(other)) is same
