from __future__ import annotations

import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy.engine import URL

from autogate import api
from autogate.store import Store
from tests.support import ROOT
from tests.support.commands import TINY, Cli, runner
from tests.support.databases import RELEASED, postgres_database, postgres_server, upgraded_copy

SHARED = ROOT.parent / "shared"
E2E = ROOT / "tests" / "e2e"


def pytest_configure() -> None:
    os.environ.pop("AUTOGATE_STORAGE", None)
    # Two threads that wait for each other on a busy machine are many times slower than one.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, unit or e2e.

    Tests below ``unit`` that run on a large network or start other processes bear the mark e2e themselves, and all that
    need a database server get it here.
    """
    for item in items:
        if E2E in item.path.parents or "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)
        elif not item.get_closest_marker("e2e"):
            item.add_marker(pytest.mark.unit)
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """Return the URL of a study database that is not there yet."""
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    """Return the URL of a PostgreSQL server that runs as long as the tests."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres(server: URL) -> Iterator[str]:
    """Return the URL of an empty PostgreSQL database."""
    with postgres_database(server) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.e2e)])
def anywhere(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database without studies, of each kind."""
    return str(request.getfixturevalue({"sqlite": "storage", "postgres": "postgres"}[request.param]))


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Return the path of a file below ../shared, or skip where that folder is not at hand."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs ../shared/{name}")
        return path

    return find


@pytest.fixture(scope="session")
def cifar_test_folder(shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder ``test/<class>/*.jpg`` of the shared JPEG CIFAR-10 test images."""
    root = tmp_path_factory.mktemp("cifar10-test")
    with tarfile.open(shared("data/cifar10-jpeg-test.tar.gz")) as archive:
        archive.extractall(root, filter="data")
    return root / "cifar10" / "test"


@pytest.fixture
def goldnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the network of the released studies be found."""
    monkeypatch.syspath_prepend(str(RELEASED))
    yield
    sys.modules.pop("goldnet", None)


@pytest.fixture(scope="session")
def recorded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the study of :func:`recorded`, which nobody may change."""
    return upgraded_copy(2, tmp_path_factory.mktemp("released") / "recorded")


@pytest.fixture(scope="session")
def upgraded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the studies of :func:`upgraded`, which nobody may change."""
    return upgraded_copy(1, tmp_path_factory.mktemp("released") / "upgraded")


@pytest.fixture
def upgraded(upgraded_folder: Path, tmp_path: Path) -> str:
    """Return the URL of a database, once of schema 1, with two finished studies, ``budget`` and ``largest drop``."""
    shutil.copytree(upgraded_folder, tmp_path / "upgraded")
    return f"sqlite:///{tmp_path / 'upgraded' / 'studies.db'}"


@pytest.fixture
def recorded(recorded_folder: Path, tmp_path: Path, goldnet: None) -> str:
    """Return the URL of a database with a finished study called ``budget``."""
    shutil.copytree(recorded_folder, tmp_path / "recorded")
    return f"sqlite:///{tmp_path / 'recorded' / 'studies.db'}"


@pytest.fixture(scope="session")
def recorded_template(recorded_folder: Path, server: URL) -> Iterator[str]:
    """Return the URL of the same study on a server, which nobody may change or stay connected to."""
    with postgres_database(server) as url:
        api.copy_study("budget", to=url, storage=f"sqlite:///{recorded_folder / 'studies.db'}")
        Store(url).engine.dispose()
        yield url


@pytest.fixture
def recorded_on_postgres(recorded_template: str, server: URL, goldnet: None) -> Iterator[str]:
    """The same study on a server."""
    with postgres_database(server, recorded_template) as url:
        yield url


@pytest.fixture(params=["recorded", pytest.param("recorded_on_postgres", marks=pytest.mark.e2e)])
def recorded_anywhere(request: pytest.FixtureRequest) -> str:
    """The same study in either kind of database."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Return a function that runs ``autogate ARGUMENTS`` in an empty directory."""
    where = tmp_path / "cwd"
    where.mkdir()
    monkeypatch.chdir(where)
    return runner(monkeypatch, capsys)


@pytest.fixture
def tiny(cli: Cli) -> Iterator[str]:
    """Return the name of a network in the current directory."""
    Path("tinynet.py").write_text(TINY, encoding="utf-8")
    yield "tinynet:build"
    sys.modules.pop("tinynet", None)
