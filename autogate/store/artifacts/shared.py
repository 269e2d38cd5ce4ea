"""Weights as files at a URL that several hosts reach, through fsspec."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autogate.errors import StorageError
from autogate.system import one_line


class SharedFiles:
    """Files at a URL, such as ``s3://bucket/weights`` or ``file:///mnt/shared``.

    Args:
        url: Where they lie.

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

    def write(self, name: str, content: bytes) -> None:
        """Store ``content``, unless a file of this name and size is there.

        Raises:
            StorageError: If it cannot be written.
        """
        path = f"{self._root}/{name}"
        try:
            if self._files.exists(path) and self._files.size(path) == len(content):
                return
            self._files.makedirs(self._root, exist_ok=True)
            with self._files.open(path, "wb") as file:
                file.write(content)
        except Exception as error:  # every driver has errors of its own
            raise StorageError(f"cannot write weights to {self.url}: {one_line(error)}") from None

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is none.

        Raises:
            StorageError: If the place cannot be reached.
        """
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StorageError(f"cannot read weights at {self.url}: {one_line(error)}") from None

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._files.exists(path := f"{self._root}/{name}"):
            self._files.rm_file(path)

    def where(self, name: str) -> str:
        """Return how a message calls the file."""
        return f"{self.url}/{name}"


def checked_url(text: str) -> str:
    """Return the URL of a place for weights; a path of this host becomes one.

    Raises:
        StorageError: If it holds a password, since it is written into the database, or is lost with its process.
    """
    if "://" not in text:
        return f"file://{Path(text).resolve()}"
    parts = urlsplit(text)
    if parts.password:
        raise StorageError("--artifacts must hold no password; give it as the place's own tools do, in the environment")
    if "::" in text:
        raise StorageError("--artifacts must be a plain URL, not one inside another")
    if parts.scheme == "memory":
        raise StorageError("--artifacts in memory are lost with their process; give a folder or s3://…")
    return text
