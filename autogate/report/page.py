"""Write a plot as one HTML page."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from autogate.errors import ReportError


def write_page(figure: go.Figure, path: Path) -> None:
    """Write a page that needs no network.

    Raises:
        ReportError: If it cannot be written.
    """
    try:
        figure.write_html(path, include_plotlyjs=True)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}; choose another place with --plot") from None
