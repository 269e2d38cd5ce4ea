"""Locks on files, between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autogate.system import FileLock

HOLD = """
import sys, time
from pathlib import Path
from autogate.system import FileLock
FileLock(Path(sys.argv[1])).acquire(shared="shared" in sys.argv)
print("held", flush=True)
time.sleep(60)
"""


def hold(path: Path, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def free(path: Path, *, shared: bool = False) -> bool:
    with FileLock(path).held(shared=shared, wait=False) as held:
        return held


@pytest.mark.parametrize("shared", [False, True])
def test_what_another_process_holds_is_shared_only_among_sharers(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "lock"
    process = hold(path, *(["shared"] if shared else []))
    assert not free(path)
    assert free(path, shared=True) is shared
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert free(path)


def test_a_forked_process_neither_keeps_nor_releases_its_parents_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    assert lock.acquire(wait=False)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        lock.release()
        os.write(tell, b"free" if free(path) else b"held")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(told, 4) == b"held"
        assert not free(path)
        lock.close()
        assert free(path)  # though the child lives
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_lock_is_taken_again_after_its_release(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    for _ in range(2):
        assert lock.acquire(wait=False)
        assert not free(path)
        lock.release()
        assert free(path)
    lock.close()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "lock", create=False).acquire()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        FileLock(tmp_path / "link").acquire()
    assert not (tmp_path / "elsewhere").exists()
