"""Plot what a study had reached after each of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from autogate.report.page import write_page


def write_history_plot(document: Mapping[str, Any], path: Path) -> None:
    """Write the points of a ``autogate.history/1`` document as one HTML page that needs no network.

    Raises:
        ReportError: If the page cannot be written.
    """
    points = document["points"]
    trials = [point["trial"] for point in points]
    figure = go.Figure()
    for name, key, axis in (
        ("hypervolume", "hypervolume", "y"),
        ("best validation accuracy within the goal", "best_val_accuracy", "y2"),
    ):
        figure.add_trace(
            go.Scatter(
                x=trials, y=[point[key] for point in points], name=name, mode="lines", line_shape="hv", yaxis=axis
            )
        )
    figure.update_layout(
        title={"text": f"{document['goal']} on {document['device']}, batch {document['batch_size']} (predicted)"},
        xaxis={"title": {"text": "trial"}},
        yaxis={"title": {"text": "hypervolume: accuracy × share of dense latency saved"}, "rangemode": "tozero"},
        yaxis2={"title": {"text": "validation accuracy"}, "overlaying": "y", "side": "right"},
    )
    write_page(figure, path)
