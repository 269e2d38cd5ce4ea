"""Studies moved between databases and files, deleted, and cleaned up after."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from autogate import api
from autogate.errors import StorageError, StudyError
from autogate.policy import Policy
from autogate.records import EvaluationKey
from autogate.store import Store
from autogate.store.transfer import insert, study_rows
from tests.support import ROOT
from tests.support.databases import execute

NAME = 'it\'s 🙂 "quoted"; drop table autogate_studies; --'


@pytest.fixture
def source(upgraded: str) -> str:
    """Return the URL of a database with two real studies."""
    return upgraded


def content(url: str, study: str) -> list[tuple[str, str]]:
    """Return all rows of a study but its name, as text in an order of their own."""
    rows = []
    for kind, values in study_rows(Store(url), study):
        values.pop("name" if kind == "study" else "study", None)
        rows.append((kind, json.dumps(values, sort_keys=True)))
    return sorted(rows)


def test_there_and_back_again(source: str, postgres: str, tmp_path: Path) -> None:
    there, back = postgres, f"sqlite:///{tmp_path / 'back' / 'studies.db'}"
    before = content(source, "budget")
    copied = api.copy_study("budget", to=there, name=NAME, storage=source).to_json()
    assert (copied["name"], copied["study"]) == (NAME, "budget")
    assert content(there, NAME) == before
    api.copy_study(NAME, to=back, name="budget", storage=there)
    assert content(back, "budget") == before
    kinds = {kind for kind, _ in before}
    assert kinds == {
        "artifact",
        "device",
        "evaluation",
        "finalist",
        "front",
        "optuna_study",
        "optuna_trial",
        "policy",
        "prediction",
        "profile",
        "sample",
        "space",
        "study",
        "trial",
    }
    for url, name in ((source, "budget"), (there, NAME), (back, "budget")):
        document = api.show_study(name, storage=url).to_json()
        assert document["best"]["trial"] == 5
        assert document["trials"]["total"] == 8
    trials = [
        optuna.load_study(study_name=name, storage=url).trials for url, name in ((source, "budget"), (there, NAME))
    ]
    for one, other in zip(*trials, strict=True):
        assert (one.number, one.state, one.values, one.params, one.constraints, one.datetime_start) == (
            other.number,
            other.state,
            other.values,
            other.params,
            other.constraints,
            other.datetime_start,
        )


@pytest.mark.e2e
def test_two_studies_share_what_they_have_in_common(source: str, anywhere: str) -> None:
    for study in ("budget", "largest drop"):
        api.copy_study(study, to=anywhere, storage=source)
    store = Store(anywhere)
    assert store.study_names() == ["budget", "largest drop"]
    assert content(anywhere, "largest drop") == content(source, "largest drop")
    with pytest.raises(StudyError, match="has a study 'budget' already; choose another name"):
        api.copy_study("budget", to=anywhere, storage=source)
    api.copy_study("budget", to=anywhere, name="twice", storage=anywhere)
    assert [trial.policy for trial in store.trials("twice")] == [trial.policy for trial in store.trials("budget")]


def test_a_file_holds_all_of_a_study(source: str, anywhere: str, tmp_path: Path) -> None:
    file = tmp_path / "study.jsonl"
    written = api.export_study("budget", file, storage=source).to_json()
    assert written["rows"] == len(content(source, "budget")) == len(file.read_text(encoding="utf-8").splitlines()) - 2
    with pytest.raises(StudyError, match="exists already; choose another file"):
        api.export_study("budget", file, storage=source)
    api.import_study(file, name=NAME, storage=anywhere)
    assert content(anywhere, NAME) == content(source, "budget")
    assert str(tmp_path) not in file.read_text(encoding="utf-8")


def cut(lines: list[str]) -> list[str]:
    return lines[:-1]


def edited(lines: list[str]) -> list[str]:
    return [line.replace('"val_accuracy":0.', '"val_accuracy":1.') for line in lines]


def of_another_version(lines: list[str]) -> list[str]:
    return [lines[0].replace("autogate.study/1", "autogate.study/9"), *lines[1:]]


def no_rows(lines: list[str]) -> list[str]:
    return ["These are notes."]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (cut, "is truncated; export the study again"),
        (edited, "was changed; export the study again"),
        (of_another_version, "was changed; export the study again"),
        (no_rows, "is not an exported study, or damaged"),
    ],
)
def test_damaged_files_are_refused(
    source: str, storage: str, tmp_path: Path, damage: Callable[[list[str]], list[str]], complaint: str
) -> None:
    file = tmp_path / "study.jsonl"
    api.export_study("budget", file, storage=source)
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("".join(f"{line}\n" for line in damage(lines)), encoding="utf-8")
    with pytest.raises(StudyError, match=complaint) as raised:
        api.import_study(file, storage=storage)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "studies.db").exists()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("trial", {"val_accuracy": "high"}),
        ("trial", {"number": None}),
        ("trial", {"no_column": 1}),
        ("policy", {"body": "x"}),
        ("no_kind", {}),
        ("optuna_trial", {"state": "EXPLODED"}),
        ("optuna_trial", {"distributions": {"x": "{}"}}),
        ("artifact", {"content": "%%%"}),
    ],
)
def test_rows_that_make_no_sense_are_refused(source: str, storage: str, kind: str, changes: dict[str, Any]) -> None:
    """A file may carry a right digest of wrong rows."""
    from autogate.store.transfer import add_study

    rows = list(study_rows(Store(source), "budget"))
    found = next((values for name, values in rows if name == kind), {})
    found.update(changes)
    store = Store(storage, create=True)
    with pytest.raises(StudyError) as raised:
        add_study(store, [(kind, found), *rows], "budget")
    assert "\n" not in str(raised.value)
    assert store.study_names() == []


@pytest.mark.e2e
def test_a_copy_that_is_interrupted_is_not_there_and_can_be_repeated(
    source: str, anywhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(insert, "_add", stop)
        with pytest.raises(KeyboardInterrupt):
            api.copy_study("budget", to=anywhere, storage=source)
    # Optuna's trials are there by then, the study's own rows are not.
    assert optuna.get_all_study_names(anywhere) == ["budget"]
    assert Store(anywhere).study_names() == []
    api.copy_study("budget", to=anywhere, storage=source)
    assert content(anywhere, "budget") == content(source, "budget")


def test_studies_of_optuna_alone_stay(source: str, anywhere: str) -> None:
    Store(anywhere, create=True)
    optuna.create_study(storage=anywhere, study_name="budget")
    with pytest.raises(StudyError, match="has a study 'budget' of Optuna alone; choose another name"):
        api.copy_study("budget", to=anywhere, storage=source)
    assert optuna.get_all_study_names(anywhere) == ["budget"]


def test_copies_of_studies_whose_weights_are_lost_are_refused(source: str, storage: str, tmp_path: Path) -> None:
    for file in (tmp_path / "upgraded" / "artifacts").iterdir():
        file.unlink()
    with pytest.raises(StorageError, match="the weights .* are missing"):
        api.copy_study("budget", to=storage, storage=source)
    assert Store(storage).study_names() == []


def test_deleting_and_cleaning(source: str, anywhere: str) -> None:
    for study in ("budget", "largest drop"):
        api.copy_study(study, to=anywhere, storage=source)
    store = Store(anywhere)
    other = content(anywhere, "largest drop")
    weights = set(store.artifacts())
    api.delete_study("budget", storage=anywhere)
    assert store.study_names() == optuna.get_all_study_names(anywhere) == ["largest drop"]
    with pytest.raises(StudyError, match="there is no study 'budget'"):
        api.delete_study("budget", storage=anywhere)
    # What was trained is kept until the database is cleaned, and then what the other study uses.
    assert set(store.artifacts()) == weights
    removed = api.vacuum_studies(storage=anywhere).to_json()
    # The accuracies of its candidates may be asked for by the other study, of the same network and data.
    assert (removed["evaluations"], removed["weights"]) == (1, 1)
    assert removed["weights_bytes"] > 80_000
    assert content(anywhere, "largest drop") == other
    again = api.vacuum_studies(storage=anywhere).to_json()
    assert (again["evaluations"], again["policies"], again["weights"]) == (0, 0, 0)
    api.delete_study("largest drop", storage=anywhere)
    last = api.vacuum_studies(storage=anywhere).to_json()
    assert last["evaluations"] > 5
    assert last["policies"] > 5
    assert store.artifacts() == {}
    assert store.profiles("goldnet:build") != []


def test_cleaning_keeps_files_that_the_next_database_uses(source: str, tmp_path: Path) -> None:
    beside = f"sqlite:///{tmp_path / 'upgraded' / 'second.db'}"
    api.copy_study("budget", to=beside, storage=source)
    for study in ("budget", "largest drop"):
        api.delete_study(study, storage=source)
    assert api.vacuum_studies(storage=source).to_json()["weights"] == 4
    assert content(beside, "budget")
    assert len(list((tmp_path / "upgraded" / "artifacts").iterdir())) == 3


def test_nothing_is_deleted_or_cleaned_while_a_study_runs(source: str, storage: str) -> None:
    with Store(source).running("budget"):
        for refused in (
            lambda: api.delete_study("budget", storage=source),
            lambda: api.copy_study("budget", to=storage, storage=source).to_json(),
        ):
            with pytest.raises(StudyError, match="study 'budget' is run by another process right now"):
                refused()
        with pytest.raises(StorageError, match="a study of .* runs right now; try again"):
            api.vacuum_studies(storage=source)
        api.describe_study("budget", storage=source)
    api.vacuum_studies(storage=source)


def test_a_file_is_deleted_from_and_cleaned_by_its_host_only(source: str, postgres: str) -> None:
    api.copy_study("budget", to=postgres, storage=source)
    for url in (source, postgres):
        execute(url, "update autogate_studies set host = 'elsewhere/0123456789abcdef/other-boot' where name = 'budget'")
    for refused in (
        lambda: api.delete_study("budget", storage=source),
        lambda: api.vacuum_studies(storage=source).to_json(),
    ):
        with pytest.raises(StudyError, match=r"'budget' is run by host elsewhere, and a SQLite file .*; do it there"):
            refused()
    api.delete_study("largest drop", storage=source)
    assert Store(source).study_names() == ["budget"]
    api.vacuum_studies(storage=postgres)
    api.delete_study("budget", storage=postgres)


def take_a_job(store: Store, worker: str) -> None:
    policy = Policy()
    store.add_policy(policy)
    store.add_worker(worker, "budget", "cpu", "1.0", joined=True)
    store.add_job(EvaluationKey(policy.digest, "task", "recipe", "short", 0), "budget", 0)
    assert store.take_job("budget", worker) is not None


def test_a_study_that_workers_train_for_is_not_deleted(source: str, anywhere: str) -> None:
    api.copy_study("budget", to=anywhere, storage=source)
    store = Store(anywhere)
    before = content(anywhere, "budget")
    take_a_job(store, "worker")
    with pytest.raises(StudyError, match=r"is trained for right now, by process \d+ on .*; stop these workers first"):
        api.delete_study("budget", storage=anywhere)
    assert content(anywhere, "budget") == before
    # It was not heard of for the length of a lease.
    execute(anywhere, "update autogate_workers set seen_s = seen_s - 1000")
    api.delete_study("budget", storage=anywhere)
    assert store.study_names() == []


@pytest.mark.e2e
def test_a_study_whose_workers_died_is_deleted_at_once(source: str) -> None:
    live = "from autogate.system import ProcessHeartbeat; print(ProcessHeartbeat().id, flush=True)"
    code = f"import time; {live}; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        take_a_job(Store(source), worker.stdout.readline().strip())
        with pytest.raises(StudyError, match="is trained for right now"):
            api.delete_study("budget", storage=source)
        worker.kill()
    api.delete_study("budget", storage=source)
    assert Store(source).study_names() == ["largest drop"]


def test_nothing_stored_is_unpickled_or_evaluated(source: str, tmp_path: Path) -> None:
    """A database that was tampered with is text to us, whatever it says."""
    trap = tmp_path / "sprung"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    facts = json.dumps({"task": {"digest": code}}).replace("'", "''")
    execute(source, f"update autogate_studies set facts = '{facts}'")  # noqa: S608
    api.describe_study("budget", storage=source)
    api.show_study("budget", storage=source)
    assert not trap.exists()


def test_facts_that_cannot_be_read_are_one_line(source: str) -> None:
    execute(source, """update autogate_studies set facts = '{"task": 7}' where name = 'budget'""")
    with pytest.raises(StorageError, match="the facts of study 'budget' cannot be read .*; restore the database") as no:
        api.show_study("budget", storage=source)
    assert "\n" not in str(no.value)
