"""Plot the front of a study: accuracy against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autogate.records import LatencyStat, TrialRecord


def front_figure(document: Mapping[str, Any], trials: Sequence[TrialRecord], stat: LatencyStat) -> go.Figure:
    """Return a figure of a study's trained candidates, their front, dense, the budget, and measured finalists.

    Args:
        document: An ``autogate.search/1`` document.
        trials: The study's trials.
        stat: Statistic over inputs that counts as the latency.
    """
    figure = go.Figure()
    trained = [trial for trial in trials if trial.val_accuracy is not None and trial.predicted is not None]
    figure.add_trace(
        go.Scatter(
            x=[(trial.predicted or {})[stat] for trial in trained],
            y=[trial.val_accuracy for trial in trained],
            text=[f"trial {trial.number}" for trial in trained],
            name="trained, predicted",
            mode="markers",
        )
    )
    front = document["front"]
    on_front = {point["trial"] for point in front}
    members = sorted(
        ((trial.predicted or {})[stat], trial.val_accuracy) for trial in trained if trial.number in on_front
    )
    figure.add_trace(
        go.Scatter(x=[x for x, _ in members], y=[y for _, y in members], name="front", mode="lines", line_shape="hv")
    )
    measured = [point for point in front if point["measured_ms"] is not None]
    if measured:
        middle = [point["measured_ms"]["p50"] for point in measured]
        intervals = [point["measured_ms"]["interval"] for point in measured]
        figure.add_trace(
            go.Scatter(
                x=middle,
                y=[point["val_accuracy"] for point in measured],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [high - ms for (_, high), ms in zip(intervals, middle, strict=True)],
                    "arrayminus": [ms - low for (low, _), ms in zip(intervals, middle, strict=True)],
                },
                text=[f"trial {point['trial']}" for point in measured],
                name="finalists, measured",
                mode="markers",
                marker={"symbol": "diamond", "size": 10},
            )
        )
    dense = document["dense"]
    if dense is not None and dense["measured_ms"] is not None:
        figure.add_trace(
            go.Scatter(
                x=[dense["measured_ms"]["p50"]],
                y=[dense["val_accuracy"]],
                name="dense, measured",
                mode="markers",
                marker={"symbol": "star", "size": 12},
            )
        )
    if document["budget_ms"] is not None:
        figure.add_vline(x=document["budget_ms"], line_dash="dash", annotation_text="budget")
    figure.update_layout(
        title={"text": f"{document['study']} on {document['device']}, batch {document['batch_size']}"},
        xaxis={"title": {"text": f"latency in ms ({stat})"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "validation accuracy"}, "tickformat": ".1%"},
    )
    return figure
