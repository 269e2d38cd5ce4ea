"""Weights as files in a folder of this host."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from autogate.errors import StorageError


class Folder:
    """A folder of files that are complete as soon as they are there.

    Args:
        root: The folder; it is made with the first file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, content: bytes) -> None:
        """Store ``content``, unless a file of this name is there.

        Raises:
            StorageError: If the folder cannot be written.
        """
        path = self.root / name
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

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it cannot be read."""
        try:
            return (self.root / name).read_bytes()
        except OSError:
            return None

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.root / name).unlink(missing_ok=True)

    def where(self, name: str) -> str:
        """Return how a message calls the file."""
        return str(self.root / name)
