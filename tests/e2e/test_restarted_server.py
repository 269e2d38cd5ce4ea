"""A database server that is stopped is waited for; one that stays away stops the work, with nothing lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from autogate.errors import StorageError, StudyRunningError
from autogate.store import Store, retries
from tests.support.databases import SERVER_VARIABLE, restartable_server, some_config


@pytest.fixture
def own_server() -> Iterator[tuple[str, object]]:
    """Return the URL of a database on a server of its own, and the server, which can be stopped and started."""
    if os.environ.get(SERVER_VARIABLE):
        pytest.skip(f"needs a server of its own, and {SERVER_VARIABLE} names another one")
    with restartable_server() as (url, server):
        yield url, server


def test_a_server_that_is_started_anew_is_waited_for(own_server: tuple[str, object]) -> None:
    url, server = own_server
    store = Store(url, create=True)
    store.create_study("one", some_config())
    with store.running("one"):
        server.stop()  # type: ignore[attr-defined]
        later = threading.Timer(2.0, server.start)  # type: ignore[attr-defined]
        later.start()
        start = time.monotonic()
        store.update_facts("one", lambda facts: replace(facts, short_floor=0.5))
        assert time.monotonic() - start >= 1.5
        later.join()
        # The server forgot the lock; it is taken again before anybody else can.
        store.check_held()
        with pytest.raises(StudyRunningError), Store(url).running("one"):
            pass
    assert store.study("one").facts.short_floor == 0.5


def test_a_lock_that_another_took_meanwhile_stops_the_first(own_server: tuple[str, object]) -> None:
    url, server = own_server
    store = Store(url, create=True)
    store.create_study("one", some_config())
    with store.running("one"):
        server.stop()  # type: ignore[attr-defined]
        server.start()  # type: ignore[attr-defined]
        with Store(url).running("one"), pytest.raises(StudyRunningError, match="another process took"):
            store.check_held()


def test_a_server_that_stays_away_is_one_clear_line(
    own_server: tuple[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = own_server
    store = Store(url, create=True)
    store.create_study("one", some_config())
    server.stop()  # type: ignore[attr-defined]
    # The methods of the store wait by themselves; a minute is too long for a test.
    monkeypatch.setattr(retries, "_WAITS_S", (0.0, 0.0))
    with pytest.raises(StorageError, match="cannot use the database .* resume when it works again") as raised:
        store.update_facts("one", lambda facts: replace(facts, short_floor=0.5))
    assert "\n" not in str(raised.value)
    server.start()  # type: ignore[attr-defined]
