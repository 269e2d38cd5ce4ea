from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy.engine import URL

from tests.support import ROOT
from tests.support.databases import postgres_database, postgres_server

SHARED = ROOT.parent / "shared"


def pytest_configure() -> None:
    os.environ.pop("AUTOGATE_STORAGE", None)
    # Two threads that wait for each other on a busy machine are many times slower than one.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
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


@pytest.fixture(params=["sqlite", "postgres"])
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
