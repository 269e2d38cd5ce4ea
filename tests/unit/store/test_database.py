"""What can be a study database, and what is refused."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import pytest

from autogate.errors import StorageError
from autogate.store import Store, check_place, holds_studies
from tests.support.databases import some_config


def test_missing_database_is_said_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "absent.db"
    with pytest.raises(StorageError, match="no study database at sqlite:///.*absent.db; `autogate search` makes one"):
        Store(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == []


def make_foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table recipes (name text)")
    connection.execute("insert into recipes values ('bread')")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("create", [True, False])
def test_foreign_databases_are_refused_and_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "foreign.db"
    make_foreign(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"foreign.db is a database of another program.*--storage"):
        Store(f"sqlite:///{path}", create=create)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["foreign.db"]


def test_files_that_are_no_database_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("These are notes, not tables. " * 100, encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="cannot use the database .*notes.db: file is not a database"):
        Store(f"sqlite:///{path}", create=True)
    assert path.read_bytes() == before


def test_optuna_s_own_database_can_be_shared(tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    optuna.create_study(storage=url, study_name="theirs")
    with pytest.raises(StorageError, match="holds no AutoGate study"):
        Store(url)
    Store(url, create=True).create_study("ours", some_config())
    assert Store(url).study_names() == ["ours"]
    assert optuna.get_all_study_names(url) == ["theirs"]


@pytest.mark.parametrize("url", ["studies.db", "nothing://x", ""])
def test_urls_that_are_none(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError) as raised:
        Store(url, create=True)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_named_without_saying_what_it_is() -> None:
    with pytest.raises(StorageError, match=r"is not valid; write it like sqlite:///runs/my\.sqlite3$"):
        Store("runs/my.sqlite3")
    with pytest.raises(StorageError, match=r"is not valid; write it like sqlite:///studies/autogate\.db$"):
        Store("me:secret@host.db")


@pytest.mark.parametrize("pages", [2, 5, 9])
def test_damaged_databases(tmp_path: Path, pages: int) -> None:
    path = tmp_path / "studies.db"
    store = Store(f"sqlite:///{path}", create=True)
    store.create_study("first", some_config())
    store.engine.dispose()
    path.write_bytes(path.read_bytes()[: pages * 4096])  # as much as a disk had room for
    with pytest.raises(StorageError, match=r"is damaged; restore a copy of it, or rescue .* `sqlite3 /.* \.recover`$"):
        Store(f"sqlite:///{path}").study("first")


def test_a_file_that_is_moved_while_it_is_in_use(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "studies.db", tmp_path / "moved.db"
    store = Store(f"sqlite:///{path}", create=True)
    store.create_study("first", some_config())
    path.rename(elsewhere)
    for _ in range(2):
        with pytest.raises(StorageError, match="was moved, deleted or replaced while it was in use; bring the file"):
            store.study_names()
        with pytest.raises(StorageError, match="was moved, deleted or replaced"):
            store.check_there()
        path.write_bytes(b"")  # another one in its place
    elsewhere.replace(path)
    assert store.study_names() == ["first"]


def test_passwords_are_not_shown() -> None:
    with pytest.raises(StorageError) as raised:
        Store("postgresql+psycopg://me:secret@localhost:1/none", create=True)
    assert "secret" not in str(raised.value)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("no directory", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot use the directory .*; use --storage"):
        Store(f"sqlite:///{blocker / 'studies.db'}", create=True)
    with pytest.raises(StorageError):
        Store(f"sqlite:///{tmp_path}", create=True)  # a directory is no database
    assert blocker.read_text(encoding="utf-8") == "no directory"
    # A name that the file system does not take fails before there is anything to make.
    for use in (check_place, partial(Store, create=True), Store):
        with pytest.raises(StorageError, match="cannot use the directory .*: File name too long; use --storage"):
            use(f"sqlite:///{tmp_path / ('long' * 100) / 'studies.db'}")


def test_empty_databases_are_started_in(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    assert not holds_studies(url)
    (tmp_path / "empty.db").touch()
    assert not holds_studies(url)
    Store(url, create=True)
    assert holds_studies(url)


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite://"])
def test_databases_in_memory_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="in memory is lost with its process"):
        Store(url, create=True)
