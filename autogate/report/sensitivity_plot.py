"""Plot sensitivity curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autogate.report.page import write_page
from autogate.units import score_format


def write_sensitivity_plot(document: Mapping[str, Any], path: Path) -> None:
    """Write the curves of a ``autogate.sensitivity/1`` document as one HTML page that needs no network.

    Raises:
        ReportError: If the page cannot be written.
    """
    curves = document["curves"]
    ratios = list(dict.fromkeys(curve["ratio"] for curve in curves))
    figure = make_subplots(cols=len(ratios), shared_yaxes=True)
    for curve in curves:
        column = ratios.index(curve["ratio"]) + 1
        if curve["ratio"] is None:
            trace = go.Bar(x=[curve["site"]], y=curve["accuracies"], name=curve["site"])
        else:
            x, y = [0.0, *curve["values"]], [document["dense_accuracy"], *curve["accuracies"]]
            trace = go.Scatter(x=x, y=y, name=curve["site"], legendgroup=curve["site"], showlegend=column == 1)
        figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(title_text=curve["ratio"] or "site", col=column)
    figure.add_hline(y=document["dense_accuracy"], line_dash="dot", annotation_text="dense")
    scores = [document["dense_accuracy"], *(score for curve in document["curves"] for score in curve["accuracies"])]
    figure.update_yaxes(title_text="validation accuracy", tickformat=score_format(scores, 0), col=1)
    figure.update_layout(title=f"{document['family']} alone at each place of {document['model']}, without training")
    write_page(figure, path)
