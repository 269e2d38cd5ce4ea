"""The main job on a real PostgreSQL server, where nothing but the database is shared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from autogate import api
from autogate.errors import StudyError
from autogate.latency.profile import profile_digest
from autogate.store import Store
from autogate.system import code_version
from tests.support.databases import SERVER_VARIABLE, execute, postgres_database
from tests.support.workplace import Workplace, start, winner

NAME = "it's 🙂"


@pytest.fixture(scope="module")
def database(server: URL, workplace: Workplace) -> Iterator[str]:
    """Return the URL of a database that already holds the profile."""
    with postgres_database(server) as url:
        store = Store(url, create=True)
        store.add_profile(profile_digest(workplace.profile), workplace.profile)
        store.engine.dispose()
        yield url


@pytest.fixture(scope="module")
def searched(database: str, workplace: Workplace) -> api.Study:
    settings = {**workplace.quick, "latency_budget": "70%", "storage": database}
    before = files_of_weights(workplace)
    found = api.search(study=NAME, trials=4, **settings)
    # The weights are in the database, and nowhere else.
    assert files_of_weights(workplace) == before
    return found


def files_of_weights(workplace: Workplace) -> set[Path]:
    return {path for folder in workplace.root.glob("**/artifacts") for path in (folder, *folder.rglob("*"))}


def scalar(url: str, query: str) -> Any:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql(query).scalar()
    finally:
        engine.dispose()


def test_a_search(searched: api.Study, database: str, workplace: Workplace) -> None:
    document = searched.document()
    assert document["trials"]["total"] == 4
    assert document == api.show_study(NAME, storage=database).to_json()
    assert winner(document)["measured_ms"]["p50"] > 0
    assert [f.trial for f in searched.store.fronts(NAME)] == [0, 1, 2, 3]
    assert searched.store.origin(NAME)["code_version"] == code_version()
    assert scalar(database, "select count(*) from autogate_front") == len(document["front"])
    assert scalar(database, "select count(*) from autogate_artifacts where path is null") >= 2
    assert not (workplace.root / "studies").exists()


def test_another_budget(searched: api.Study, database: str) -> None:
    loose = api.pareto(NAME, latency_budget="95%", storage=database).to_json()
    assert loose["best_predicted"]["trial"] in {point["trial"] for point in loose["front"]}


def test_resuming_and_exporting(searched: api.Study, database: str, workplace: Workplace) -> None:
    before = searched.trials
    resumed = api.resume(NAME, trials=2, storage=database)
    assert resumed.document()["trials"]["total"] == 6
    assert resumed.trials[:4] == before
    states = [t.state.name for t in optuna.load_study(study_name=NAME, storage=database).get_trials(deepcopy=False)]
    assert len(states) == 6
    assert not {"RUNNING", "WAITING"} & set(states)
    to = workplace.root / "from-postgres"
    api.export(NAME, to, trial=str(winner(resumed.document())["trial"]), storage=database)
    assert json.loads((to / "report.json").read_text(encoding="utf-8"))["verified"]["changed_predictions"] == 0


def test_a_copy_is_continued_in_a_file(searched: api.Study, database: str, workplace: Workplace) -> None:
    to = f"sqlite:///{workplace.root / 'copied' / 'studies.db'}"
    api.copy_study(NAME, to=to, name="copied", storage=database)
    before = api.show_study("copied", storage=to).to_json()
    assert before["front"] == api.show_study(NAME, storage=database).to_json()["front"]
    resumed = api.resume("copied", trials=2, storage=to).document()
    assert resumed["trials"]["total"] == before["trials"]["total"] + 2
    assert resumed["seconds"]["train shared weights"] == before["seconds"]["train shared weights"]
    execute(to, "update autogate_studies set host = 'elsewhere/0123456789abcdef/other'")
    with pytest.raises(StudyError, match="a SQLite file cannot be shared by hosts"):
        api.resume("copied", trials=1, storage=to)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_two_drivers_at_once(workplace: Workplace, foreign: str, server: URL, tmp_path: Path, kind: str) -> None:
    """Both make the tables of an empty database; one runs the study, the other is told."""
    options = [f"--{key.replace('_', '-')}={value}" for key, value in workplace.quick.items()]
    arguments = ("search", "--latency-budget", "70%", "--trials", "3", "--profile", foreign, *options, "--study", NAME)
    with ExitStack() as stack:
        file = f"sqlite:///{tmp_path / 'studies.db'}"
        empty = file if kind == "sqlite" else stack.enter_context(postgres_database(server))
        drivers = [start(workplace, empty, *arguments) for _ in range(2)]
        ended = [(driver.communicate(timeout=240), driver.returncode) for driver in drivers]
        store = Store(empty)
        counts = store.count_trials(NAME)
        store.engine.dispose()
        names = optuna.get_all_study_names(empty)
    refused = [err for (_, err), code in ended if code == 2]
    assert len(refused) == 1, ended
    assert f"study {NAME!r} is run by another process right now" in refused[0].splitlines()[-1]
    assert "Traceback" not in "".join(err for (_, err), _ in ended)
    assert counts["total"] == 3
    assert counts["failed"] == 0
    assert names == [NAME]


@pytest.mark.skipif(SERVER_VARIABLE in os.environ, reason="needs a server that takes any password")
def test_no_password_is_written_anywhere(server: URL, workplace: Workplace, foreign: str) -> None:
    secret = "s3cret-of-this-test"  # noqa: S105
    with postgres_database(server) as empty:
        # The server trusts everyone, and takes any password.
        url = make_url(empty).set(password=secret).render_as_string(hide_password=False)
        options = [f"--{key.replace('_', '-')}={value}" for key, value in workplace.quick.items()]
        search = start(
            workplace,
            url,
            "search",
            "--latency-budget",
            "70%",
            "--trials",
            "2",
            "--profile",
            foreign,
            *options,
            "--study",
            "first",
            "--format",
            "json",
        )
        out, err = search.communicate(timeout=240)
        assert json.loads(out)["trials"]["total"] == 2, err
        printed = [out, err]
        for command in (
            ("show", "first"),
            ("studies", "show", "first", "-f", "json"),
            ("resume", "none"),
            ("studies",),
        ):
            printed += start(workplace, url, *command).communicate(timeout=60)
        dumped = "".join(
            str(row)
            for table in tables(empty)
            for row in rows(empty, f'select * from "{table}"')  # noqa: S608
        )
    assert secret not in "".join(printed)
    assert "first" in dumped
    assert secret not in dumped


def tables(url: str) -> list[str]:
    return [str(row[0]) for row in rows(url, "select tablename from pg_tables where schemaname = 'public'")]


def rows(url: str, query: str) -> list[Any]:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql(query))
    finally:
        engine.dispose()
