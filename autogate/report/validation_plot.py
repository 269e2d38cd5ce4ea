"""Plot predicted against measured latencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from autogate.report.page import write_page


def write_validation_plot(document: Mapping[str, Any], path: Path) -> None:
    """Write the points of a ``autogate.validate/1`` document as one HTML page that needs no network.

    Raises:
        ReportError: If the page cannot be written.
    """
    points = document["points"]
    measured = [point["measured_ms"] for point in points]
    bounds = [point["upper_ms"] - point["predicted_ms"] for point in points]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=measured,
            y=[point["predicted_ms"] for point in points],
            mode="markers",
            name="predicted",
            error_y={"type": "data", "array": bounds, "arrayminus": [0.0] * len(bounds), "thickness": 1},
        )
    )
    figure.add_trace(
        go.Scatter(x=measured, y=[p["again_ms"] for p in points], mode="markers", name="measured again", opacity=0.5)
    )
    ends = [min(measured), max(measured)]
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line_dash="dot", name="equal"))
    scores = document["model"]
    figure.update_layout(
        title=f"{document['model_name']} on {document['setting']['device_name']}, batch "
        f"{document['setting']['batch_size']}: mean error {scores['mape']:.1%}, Spearman {scores['spearman']:.3f}",
        xaxis_title="measured, ms",
        yaxis_title="ms",
    )
    write_page(figure, path)
