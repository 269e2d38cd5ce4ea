"""Which code runs: the release, and a digest of the sources, so that a changed checkout is another version."""

from __future__ import annotations

import hashlib
from functools import cache
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
