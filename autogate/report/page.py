"""Write a plot as one HTML page."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from autogate.errors import ReportError


def check_place(path: Path) -> None:
    """Refuse a file that cannot be written, before what goes into it is worked out.

    Raises:
        ReportError: If its directory is not there, or it is a directory itself.
    """
    if not path.parent.is_dir() or path.is_dir():
        raise ReportError(f"cannot write {path}: no such directory, or it is one; choose another place with --plot")


def write_page(figure: go.Figure, path: Path) -> None:
    """Write a page that needs no network.

    Raises:
        ReportError: If it cannot be written.
    """
    try:
        figure.write_html(path, include_plotlyjs=True)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}; choose another place with --plot") from None
