"""Weights as files, each stored under the SHA-256 of its content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from sqlalchemy.engine import make_url

from autogate.errors import StorageError


def artifact_root(url: str) -> Path:
    """Return the directory for the files of the database at ``url``."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return Path(parsed.database).resolve().parent / "artifacts"
    return Path("studies").resolve() / "artifacts"


def write_artifact(root: Path, content: bytes) -> str:
    """Store ``content`` and return its SHA-256; a file that is there is complete.

    Raises:
        StorageError: If the directory cannot be written.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    path = root / f"{sha256}.safetensors"
    if path.exists():
        return sha256
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=root)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"cannot write weights to {root}: {error.strerror}; free space or use --storage") from None
    return sha256


def read_artifact(root: Path, sha256: str) -> bytes:
    """Return the content stored under ``sha256``.

    Raises:
        StorageError: If it is missing or was changed.
    """
    path = root / f"{sha256}.safetensors"
    try:
        content = path.read_bytes()
    except OSError:
        raise StorageError(f"the weights {path} are missing; restore the file or start a new study") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StorageError(f"the weights {path} were changed; restore the file or start a new study")
    return content
