"""The figure of a front, on the records of a released study that were given measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import autogate
from autogate.records import Comparison, FinalistRecord, Measurement, Setting
from autogate.report import front_figure


def measured(finalist: FinalistRecord, setting: Setting, p50: float, p95: float, trial: int) -> FinalistRecord:
    """Return a finalist of another trial that was measured; the interval is that of p95."""
    gated = Measurement(p50, p50, p95, p95, (p95 - 0.02, p95 + 0.05), 8, 5)
    dense = Measurement(1.0, 1.0, 1.25, 1.3, (1.2, 1.3), 8, 5)
    return replace(finalist, trial=trial, comparison=Comparison(dense, gated, p95 / 1.25, (0.4, 0.8), setting))


@pytest.fixture
def study(recorded: str) -> autogate.Study:
    return autogate.load_study("budget", storage=recorded)


@pytest.fixture
def finalists(study: autogate.Study) -> Sequence[FinalistRecord]:
    """Return two measured finalists, the second one of a trial that is not on the front."""
    (finalist,), target = study.finalists, study.facts.target
    assert target is not None
    assert 99 not in {trial.number for trial in study.front}
    return [measured(finalist, target.setting, 0.5, 0.6, 1), measured(finalist, target.setting, 0.7, 0.8, 99)]


def test_every_measured_finalist_is_drawn_with_the_interval_of_its_statistic(
    study: autogate.Study, finalists: Sequence[FinalistRecord]
) -> None:
    unmeasured = replace(finalists[0], trial=98, comparison=None)
    figure = front_figure(study.document(), study.trials, study.front, [*finalists, unmeasured], "p95")
    drawn = next(trace for trace in figure.data if trace.name == "finalists, measured")
    assert list(drawn.text) == ["trial 1", "trial 99"]
    assert list(drawn.x) == [0.6, 0.8]
    assert list(drawn.y) == [finalists[0].val_accuracy] * 2
    assert list(drawn.error_x.arrayminus) == pytest.approx([0.02, 0.02])
    assert list(drawn.error_x.array) == pytest.approx([0.05, 0.05])


def test_dense_is_measured_where_a_finalist_was(study: autogate.Study, finalists: Sequence[FinalistRecord]) -> None:
    document, comparison = study.document(), finalists[0].comparison
    assert comparison is not None
    document["dense"]["measured_ms"] = comparison.dense.to_json()
    figure = front_figure(document, study.trials, study.front, finalists, "p95", dense_ms=7.0)
    dense = next(trace for trace in figure.data if trace.name.startswith("dense"))
    assert (dense.name, *dense.x, *dense.y) == ("dense, measured", 1.25, document["dense"]["val_accuracy"])
