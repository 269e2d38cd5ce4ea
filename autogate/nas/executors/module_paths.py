"""Where a process looks for a user's own modules, for others to look there, too."""

from __future__ import annotations

import sys
from pathlib import Path


def module_paths() -> list[str]:
    """Return where this process looks for modules, but for what its interpreter brings along."""
    installed = (sys.prefix, sys.base_prefix)
    return [str(Path(path or ".").resolve()) for path in sys.path if not path.startswith(installed)]
