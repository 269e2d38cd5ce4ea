"""The queries of ``docs/sql.md``, on studies that were really searched, in every kind of database."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy

from autogate import api
from autogate.store import Store
from tests.support import ROOT

PAGE = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"^([^\n]+)\n\n```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.e2e)])
def searched(request: pytest.FixtureRequest, upgraded: str) -> str:
    """Return the URL of a database with two studies."""
    if request.param == "postgres":
        target = request.getfixturevalue("postgres")
        for study in ("budget", "largest drop"):
            api.copy_study(study, to=target, storage=upgraded)
        return str(target)
    return upgraded


def rows(url: str, query: str) -> list[dict[str, Any]]:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return [dict(row) for row in connection.exec_driver_sql(query).mappings()]
    finally:
        engine.dispose()


def asked(about: str) -> str:
    """Return the query whose question holds ``about``."""
    [query] = [query for question, query in QUERIES.items() if about in question]
    return query


def test_the_page_has_ten_queries() -> None:
    assert len(QUERIES) == PAGE.count("```sql") == 10


def test_every_query_has_an_answer(searched: str) -> None:
    empty = [question for question, query in QUERIES.items() if not rows(searched, query)]
    # The studies were searched for a device that was not at hand, so there are no measurements.
    assert empty == ["How far were predictions off, where there are measurements?"]


def test_the_answers_are_those_of_the_commands(searched: str) -> None:
    store = Store(searched)
    counts = {name: store.count_trials(name) for name in store.study_names()}
    found = {row["study"]: row for row in rows(searched, asked("How far is every study"))}
    assert {name: row["trials"] for name, row in found.items()} == {n: c["total"] for n, c in counts.items()}
    assert {name: row["trained"] for name, row in found.items()} == {n: c["complete"] for n, c in counts.items()}
    front = rows(searched, asked("The front of every study"))
    for name in store.study_names():
        expected = api.pareto(name, storage=searched).to_json()["front"]
        mine = [row for row in front if row["study"] == name]
        assert [row["trial"] for row in mine] == [point["trial"] for point in expected]
        assert [row["predicted_ms"] for row in mine] == [point["predicted_ms"]["p95"] for point in expected]
        assert [row["val_accuracy"] for row in mine] == [point["val_accuracy"] for point in expected]
    assert {row["test_accuracy"] for row in front if row["test_accuracy"] is not None} <= {
        finalist.test_accuracy for name in store.study_names() for finalist in store.finalists(name)
    }
    [best] = rows(searched, asked("within 5 ms"))
    trials = [trial for name in store.study_names() for trial in store.trials(name) if trial.outcome == "complete"]
    assert best["val_accuracy"] == max(trial.val_accuracy or 0.0 for trial in trials)
    shares = rows(searched, asked("Do fewer MACs"))
    assert all(0 < row["macs_share"] <= 1 for row in shares)
    assert len(shares) == len(trials)
    [device] = rows(searched, asked("Which devices"))
    assert (device["device"], device["studies"]) == ("a device elsewhere", 2)
    reasons = rows(searched, asked("turned away"))
    assert all(row["reason"] for row in reasons)
    assert len(reasons) == sum(count["rejected"] + count["failed"] for count in counts.values())


def test_every_column_of_the_views_is_on_the_page(searched: str) -> None:
    described = PAGE.partition("## Ten queries")[0]
    for view in ("autogate_trials", "autogate_front", "autogate_devices"):
        columns = rows(searched, f"select * from {view}")[0]  # noqa: S608
        assert [column for column in columns if f"`{column}`" not in described] == []
