"""Where a report may go; asked before what goes into it is worked out."""

from __future__ import annotations

from pathlib import Path

from autogate.errors import ReportError


def check_plot_path(path: str | Path | None) -> None:
    """Check that a plot can be written to ``path``; None is no file.

    Raises:
        ReportError: If its directory does not exist, or ``path`` is a directory itself.
    """
    if path is None:
        return
    if Path(path).is_dir():
        raise ReportError(f"cannot write the plot: {path} is a directory; name a file with --plot")
    if not Path(path).parent.is_dir():
        raise ReportError(
            f"cannot write the plot: directory {Path(path).parent} does not exist; make it, or choose another --plot"
        )
