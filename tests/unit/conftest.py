from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autogate import api
from autogate.store import Store
from tests.support.databases import RELEASED, released


@pytest.fixture
def goldnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the network of the released studies be found."""
    monkeypatch.syspath_prepend(str(RELEASED))
    yield
    sys.modules.pop("goldnet", None)


@pytest.fixture
def recorded(tmp_path: Path, goldnet: None) -> str:
    """Return the URL of a database with a finished study called ``budget``."""
    url = released(2, tmp_path / "recorded")
    api.upgrade_studies(storage=url)
    return url


@pytest.fixture
def recorded_on_postgres(recorded: str, postgres: str) -> str:
    """The same study on a server."""
    api.copy_study("budget", to=postgres, storage=recorded)
    Store(postgres).engine.dispose()
    return postgres


@pytest.fixture(params=["recorded", "recorded_on_postgres"])
def recorded_anywhere(request: pytest.FixtureRequest) -> str:
    """The same study in either kind of database."""
    return str(request.getfixturevalue(request.param))
