"""Where a report may go; asked before what goes into it is worked out."""

from __future__ import annotations

from pathlib import Path

from autogate.errors import ReportError


def check_plot_path(path: str | Path | None) -> None:
    """Refuse a file that cannot be written; None is no file.

    Raises:
        ReportError: If its directory is not there, or it is a directory itself.
    """
    if path is not None and (not Path(path).parent.is_dir() or Path(path).is_dir()):
        raise ReportError(f"cannot write {path}: no such directory, or it is one; choose another place with --plot")
