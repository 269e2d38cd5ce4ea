"""What is installed: the release, a digest of the sources, and the folders that ship with AutoGate."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

VERSION = "0.1.0"


@cache
def code_version() -> str:
    """Return the version of the code that runs, such as ``0.1.0+3f2a9c1b``."""
    root = Path(__file__).parents[1]
    content = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{VERSION}+{content.hexdigest()[:8]}"


def shipped_folder(folder: str) -> Path:
    """Return a folder that ships with AutoGate, such as ``search_spaces``; it is empty if nothing of it is here."""
    checkout = Path(__file__).resolve().parents[2] / folder
    if checkout.is_dir():
        return checkout
    for file in metadata.files("autogate") or ():
        if file.parent.parts[-2:] == ("autogate", folder):
            return Path(str(file.locate())).resolve().parent
    return checkout
