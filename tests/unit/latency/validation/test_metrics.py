"""Scores of predictions, on cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from autogate.latency.validation import coverage, score
from autogate.latency.validation.metrics import best_constant, budget_violations


def test_scores_of_a_hand_case() -> None:
    measured, predicted = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.08, 1.94, 4.0, 4.0])
    found = score(predicted, measured)
    assert found.mape == pytest.approx((0.08 + 0.03 + 0 + 0.5) / 4)
    assert found.bias == pytest.approx((0.08 - 0.03 - 0.5) / 4)
    assert (found.within_5, found.within_10) == (0.5, 0.75)
    assert found.p95_ape == pytest.approx(np.percentile([0.08, 0.03, 0.0, 0.5], 95))
    # Two predictions are equal; the others are in order.
    assert found.spearman == pytest.approx(3 / np.sqrt(10), abs=0.01)
    assert found.kendall == pytest.approx(5 / np.sqrt(6 * 5))
    assert score(measured, measured).skill == 1.0


def test_the_best_constant_is_best() -> None:
    measured = np.random.default_rng(0).uniform(1, 10, 31)
    errors = [np.abs(constant / measured - 1).mean() for constant in np.linspace(1, 10, 2000)]
    found = best_constant(measured)
    assert np.abs(found / measured - 1).mean() <= min(errors) + 1e-9
    constant = score(np.full(31, found), measured)
    assert constant.skill == pytest.approx(0.0)
    assert constant.spearman == 0.0


def test_coverage_has_its_interval() -> None:
    share, (low, high) = coverage(np.array([2.0] * 19 + [0.5]), np.ones(20))
    assert share == 0.95
    assert low < 0.80 < 0.95 < high < 1.0


def test_a_budget_is_exceeded_by_what_would_be_delivered() -> None:
    upper = np.array([1.0, 2.0, 3.0])
    assert budget_violations(upper, upper) == (0.0, 0.0)
    # The second of three bounds is 2 % too low: budgets in [2, 2.04) are exceeded, by less than 3 %.
    over, far_over = budget_violations(upper, np.array([1.0, 2.04, 3.0]))
    assert 0.01 <= over <= 0.03
    assert far_over == 0.0
    over, far_over = budget_violations(upper, np.array([1.5, 2.0, 3.0]))
    assert over == pytest.approx(0.25, abs=0.01)
    assert 0.2 < far_over < over
