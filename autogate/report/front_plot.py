"""Plot the front of a study: accuracy against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from autogate.records import FinalistRecord, LatencyStat, TrialRecord
from autogate.units import score_format


def front_figure(
    document: Mapping[str, Any],
    trials: Sequence[TrialRecord],
    front: Sequence[TrialRecord],
    finalists: Sequence[FinalistRecord],
    stat: LatencyStat,
    dense_ms: float | None = None,
) -> go.Figure:
    """Return a figure of a study's trained candidates, their front, its finalists, dense, and the latency budget.

    Args:
        document: An ``autogate.search/1`` document.
        trials: The study's trials.
        front: Those on the front, fastest first.
        finalists: The study's finalists; those that were measured are drawn, with the interval of ``stat``.
        stat: Statistic over inputs that counts as the latency, and that the budget binds.
        dense_ms: Predicted latency of dense in milliseconds, drawn where it was not measured.
    """
    figure = go.Figure()
    trained = [trial for trial in trials if trial.val_accuracy is not None and trial.predicted is not None]
    figure.add_trace(_of_trials(trained, stat, name="trained, predicted", mode="markers"))
    figure.add_trace(_of_trials(front, stat, name="front", mode="lines", line_shape="hv"))
    if any(finalist.comparison is not None for finalist in finalists):
        figure.add_trace(_of_finalists(finalists, stat))
    if (dense := document["dense"]) is not None:
        measured = dense["measured_ms"]
        latency_ms, label = (dense_ms, "predicted") if measured is None else (measured[stat], "measured")
        if latency_ms is not None:
            figure.add_trace(
                go.Scatter(
                    x=[latency_ms],
                    y=[dense["val_accuracy"]],
                    name=f"dense, {label}",
                    mode="markers",
                    marker={"symbol": "star", "size": 12},
                )
            )
    if document["budget_ms"] is not None:
        figure.add_vline(x=document["budget_ms"], line_dash="dash", annotation_text="budget")
    scores = [trial.val_accuracy for trial in trained if trial.val_accuracy is not None]
    figure.update_layout(
        title={"text": f"{document['study']} on {document['device']}, batch {document['batch_size']}"},
        xaxis={"title": {"text": f"latency in ms ({stat})"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "validation accuracy"}, "tickformat": score_format(scores, 1)},
    )
    return figure


def _of_trials(trials: Sequence[TrialRecord], stat: LatencyStat, **style: Any) -> go.Scatter:
    return go.Scatter(
        x=[(trial.predicted or {})[stat] for trial in trials],
        y=[trial.val_accuracy for trial in trials],
        text=[f"trial {trial.number}" for trial in trials],
        **style,
    )


def _of_finalists(finalists: Sequence[FinalistRecord], stat: LatencyStat) -> go.Scatter:
    """Return the finalists that were measured; an interval may lie beside its point, as it comes from a bootstrap."""
    measured = [(finalist, finalist.comparison.gated) for finalist in finalists if finalist.comparison is not None]
    return go.Scatter(
        x=[gated.stat(stat) for _, gated in measured],
        y=[finalist.val_accuracy for finalist, _ in measured],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, gated.interval[1] - gated.stat(stat)) for _, gated in measured],
            "arrayminus": [max(0.0, gated.stat(stat) - gated.interval[0]) for _, gated in measured],
        },
        text=[f"trial {finalist.trial}" for finalist, _ in measured],
        name="finalists, measured",
        mode="markers",
        marker={"symbol": "diamond", "size": 10},
    )
