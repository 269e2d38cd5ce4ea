"""Where a database keeps weights: in a folder of this host, at a URL that several hosts reach, or in its rows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from autogate.errors import StorageError
from autogate.store.tables import Artifact, ArtifactPart
from autogate.system import one_line

_PART_BYTES = 8 * 2**20


class ArtifactStore(Protocol):
    """Holds the content of weights; their row in the database names and measures them."""

    def write(self, session: Session, row: Artifact, content: bytes) -> None:
        """Store ``content`` and add its row; the caller commits.

        Raises:
            StorageError: If it cannot be written.
        """

    def read(self, session: Session, row: Artifact) -> bytes | None:
        """Return the content of a row, or None if it is missing.

        Raises:
            StorageError: If the place cannot be reached.
        """

    def delete(self, session: Session, row: Artifact) -> None:
        """Remove the content of a row, if it is there; the caller commits and removes the row."""

    def where(self, row: Artifact) -> str:
        """Return how a message names the content."""


class FolderArtifacts:
    """Files in a folder, each complete as soon as it is there.

    Args:
        root: The folder, which is made with the first file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, session: Session, row: Artifact, content: bytes) -> None:
        """Store ``content``, unless its file is there; see :class:`ArtifactStore`."""
        row.path = _file_name(row)
        self._write(self.root / row.path, content)
        session.add(row)

    def _write(self, path: Path, content: bytes) -> None:
        if path.exists():
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=self.root)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(part).replace(path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(
                f"cannot write weights to {self.root}: {error.strerror}; free space or use --storage"
            ) from None

    def read(self, session: Session, row: Artifact) -> bytes | None:
        """Return the content of the row's file, or None if it cannot be read."""
        try:
            return (self.root / _file_name(row)).read_bytes()
        except OSError:
            return None

    def delete(self, session: Session, row: Artifact) -> None:
        """Remove the row's file, if it is there."""
        (self.root / _file_name(row)).unlink(missing_ok=True)

    def where(self, row: Artifact) -> str:
        """Return the path of the row's file."""
        return str(self.root / _file_name(row))


class UrlArtifacts:
    """Files at a URL, such as ``s3://bucket/weights`` or ``file:///mnt/shared``, through fsspec.

    Args:
        url: The folder's URL.

    Raises:
        StorageError: If there is no driver for it.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if "::" in self.url:
            raise StorageError(f"cannot use --artifacts {self.url}: one URL inside another; give a plain one")
        try:
            from fsspec.core import url_to_fs

            self._files: Any
            self._files, self._root = url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as error:
            raise StorageError(f"cannot use --artifacts {self.url}: {one_line(error)}") from None

    def write(self, session: Session, row: Artifact, content: bytes) -> None:
        """Store ``content``, unless a file of its name and size is there; see :class:`ArtifactStore`."""
        row.path = _file_name(row)
        self._write(f"{self._root}/{row.path}", content)
        session.add(row)

    def _write(self, path: str, content: bytes) -> None:
        try:
            if self._files.exists(path) and self._files.size(path) == len(content):
                return
            self._files.makedirs(self._root, exist_ok=True)
            with self._files.open(path, "wb") as file:
                file.write(content)
        except Exception as error:  # every driver has other errors
            raise StorageError(f"cannot write weights to {self.url}: {one_line(error)}") from None

    def read(self, session: Session, row: Artifact) -> bytes | None:
        """Return the content of the row's file, or None if there is none.

        Raises:
            StorageError: If the place cannot be reached.
        """
        try:
            return bytes(self._files.cat_file(f"{self._root}/{_file_name(row)}"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StorageError(f"cannot read weights at {self.url}: {one_line(error)}") from None

    def delete(self, session: Session, row: Artifact) -> None:
        """Remove the row's file, if it is there."""
        if self._files.exists(path := f"{self._root}/{_file_name(row)}"):
            self._files.rm_file(path)

    def where(self, row: Artifact) -> str:
        """Return the URL of the row's file."""
        return f"{self.url}/{_file_name(row)}"


class RowArtifacts:
    """Rows of the database itself, in parts of 8 MiB, for hosts that share nothing else."""

    def write(self, session: Session, row: Artifact, content: bytes) -> None:
        """Add the row and the parts of its content; the caller commits."""
        session.add(row)
        session.flush()
        sha256 = row.sha256
        for part, start in enumerate(range(0, max(1, len(content)), _PART_BYTES)):
            session.add(ArtifactPart(sha256=sha256, part=part, content=content[start : start + _PART_BYTES]))
            session.flush()
            session.expunge_all()

    def read(self, session: Session, row: Artifact) -> bytes | None:
        """Return the content of all parts, or None if there are none."""
        query = select(ArtifactPart.content).where(ArtifactPart.sha256 == row.sha256).order_by(ArtifactPart.part)
        parts = list(session.scalars(query))
        return b"".join(parts) if parts else None

    def delete(self, session: Session, row: Artifact) -> None:
        """Remove all parts; the caller commits."""
        session.execute(delete(ArtifactPart).where(ArtifactPart.sha256 == row.sha256))

    def where(self, row: Artifact) -> str:
        """Return the name of the content in the database."""
        return row.sha256


def checked_url(text: str) -> str:
    """Return the URL of a place for weights; a path of this host becomes one.

    Raises:
        StorageError: If it holds a password, since it is written into the database, or is lost with its process.
    """
    if "://" not in text:
        return f"file://{Path(text).resolve()}"
    parts = urlsplit(text)
    if parts.password:
        raise StorageError("--artifacts must hold no password; set it in the environment, as its driver documents")
    if "::" in text:
        raise StorageError("--artifacts must be a plain URL, not one inside another")
    if parts.scheme == "memory":
        raise StorageError("--artifacts in memory are lost with their process; give a folder or s3://…")
    return text


def _file_name(row: Artifact) -> str:
    return row.path or f"{row.sha256}.safetensors"
