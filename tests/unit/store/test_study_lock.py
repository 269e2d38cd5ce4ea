"""One driver per study, and one host per file."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from autogate.errors import StudyError, StudyRunningError
from autogate.store import Store, this_host
from autogate.store.host import on_network, same_host
from tests.support import ROOT
from tests.support.databases import execute, some_config

HOLD = """
import os, sys, time
from autogate.store import Store
with Store(sys.argv[1]).running(sys.argv[2]):
    if "fork" in sys.argv:
        begun, begins = os.pipe()
        if os.fork() == 0:
            os.write(begins, b".")
            os.closerange(0, 3)
            time.sleep(20)
            os._exit(0)
        os.read(begun, 1)
    print("running", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(anywhere: str) -> Store:
    store = Store(anywhere, create=True)
    store.create_study("first", some_config())
    return store


def hold(store: Store, study: str, *more: str) -> subprocess.Popen[str]:
    """Run a study in another process; return when it runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.url, study, *more], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


def test_a_study_has_one_driver_until_that_dies(store: Store) -> None:
    other = hold(store, "first")
    with pytest.raises(StudyRunningError, match="study 'first' is run by another process right now"):
        store.running("first").__enter__()
    with store.running("second"):
        pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    with store.running("first"), pytest.raises(StudyRunningError), store.running("first"):
        pass
    with store.running("first"):
        pass


def test_children_of_a_driver_that_died_do_not_hold_its_study(storage: str) -> None:
    store = Store(storage, create=True)
    other = hold(store, "first", "fork")
    other.send_signal(signal.SIGKILL)
    other.wait()
    with store.running("first"):
        pass


def test_names_are_locked_whatever_they_are(store: Store) -> None:
    name = 'it\'s "🙂" ; drop table autogate_studies'
    with store.running(name), pytest.raises(StudyRunningError), store.running(name):
        pass
    assert store.study_names() == ["first"]


def test_a_file_is_for_one_host(store: Store) -> None:
    store.claim("first")
    store.claim("first")
    assert store.origin("first")["host"] == this_host().rsplit("/", 2)[0]
    execute(store.url, "update autogate_studies set host = 'elsewhere/0123456789abcdef/other-boot'")
    if store.engine.dialect.name == "sqlite":
        with pytest.raises(StudyError, match=r"by host elsewhere, and a SQLite file cannot be shared .*studies copy"):
            store.claim("first")
        assert store.origin("first")["host"] == "elsewhere"
    else:
        store.claim("first")
        assert store.origin("first")["host"] == this_host().rsplit("/", 2)[0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a/m1/b1", "a/m1/b2", True),  # after a restart
        ("a/m1/b1", "c/m2/b1", True),  # two containers of one machine
        ("a/m1/b1", "a/m2/b2", False),
        ("a/m1/", "a/m2/", False),  # boots that are not known are not equal
        ("with/slash/m1/b1", "m1/b2", True),
    ],
)
def test_what_is_one_host(one: str, other: str, same: bool) -> None:
    assert same_host(one, other if other.count("/") > 1 else f"x/{other}") is same


def test_network_file_systems_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert not on_network(Path("/mnt/home/me/studies.db"))  # a host without a table of mounts
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/home /mnt/home nfs4 rw 0 0\n/dev/sdb1 /mnt/home/local ext4 rw 0 0\n"
        "server:/x /mnt/a\\040b cifs rw 0 0\n",
        encoding="utf-8",
    )
    assert on_network(Path("/mnt/home/me/studies.db"))
    assert on_network(Path("/mnt/a b/studies.db"))
    assert not on_network(Path("/mnt/home/local/studies.db"))
    assert not on_network(Path("/srv/studies.db"))
