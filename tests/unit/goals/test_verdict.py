from __future__ import annotations

from dataclasses import replace

import pytest

from autogate.goals import Budgets, LatencyBudget, binds, choose_best, latency_excess
from autogate.goals.verdict import judge
from autogate.policy import Policy
from autogate.records import (
    EnergyComparison,
    FinalistRecord,
)
from tests.support.records import comparison, finalist


def budget(text: str) -> Budgets:
    return Budgets.parse(latency=text)


def measured(ratio: float, half: float = 0.01, dense_ms: float = 10.0) -> FinalistRecord:
    return replace(finalist(1, 0.9, ratio), comparison=comparison(ratio, half, dense_ms))


def test_a_relative_budget_is_judged_by_the_ratio_s_upper_end() -> None:
    assert judge(measured(0.58), budget("60%")).met
    assert judge(measured(0.59), budget("60%")).met
    # The ratio itself is within the budget, the end of its interval is not.
    missed = judge(measured(0.595), budget("60%"))
    assert not missed.met
    assert missed.excess == pytest.approx(0.605 / 0.6 - 1)
    assert latency_excess(comparison(0.595), LatencyBudget.parse("60%")) == missed.excess
    # The milliseconds of that run play no part.
    assert judge(measured(0.58, dense_ms=1000.0), budget("60%")).met


def test_an_absolute_budget_is_judged_by_the_milliseconds() -> None:
    assert judge(measured(0.49), budget("5ms")).met
    assert not judge(measured(0.495), budget("5ms")).met
    assert judge(measured(0.495), budget("5ms")).excess == pytest.approx(0.01)
    assert not judge(measured(0.49, dense_ms=20.0), budget("5ms")).met


def test_without_a_budget_everything_is_met() -> None:
    assert judge(measured(2.0), Budgets()).met


def test_where_the_target_is_not_at_hand_the_prediction_s_bound_decides() -> None:
    foreign = replace(finalist(1, 0.9, 0.5), comparison=None)
    assert foreign.ratio == 0.5  # 1 ms against 2 ms dense
    assert judge(foreign, budget("55%")).met
    assert judge(foreign, budget("54%")).excess == pytest.approx(1.1 / 1.08 - 1)
    assert judge(foreign, budget("1.1ms")).met
    assert not judge(foreign, budget("1.09ms")).met
    assert choose_best([foreign], budget("60%"), None) == (foreign, None)


def test_the_most_accurate_within_the_budget_wins() -> None:
    finalists = [finalist(1, 0.80, 0.40), finalist(2, 0.85, 0.55), finalist(3, 0.90, 0.65)]
    assert choose_best(finalists, budget("60%"), None) == (finalists[1], None)
    assert choose_best(finalists, budget("70%"), None) == (finalists[2], None)
    assert choose_best(finalists, budget("45%"), None) == (finalists[0], None)


def test_equal_accuracy_is_decided_by_speed() -> None:
    finalists = [finalist(1, 0.85, 0.55), finalist(2, 0.85, 0.50)]
    assert choose_best(finalists, budget("60%"), None)[0] is finalists[1]


def test_if_none_meets_the_budget_the_closest_is_named() -> None:
    finalists = [finalist(1, 0.9, 0.80), finalist(2, 0.8, 0.66), finalist(3, 0.7, 0.70)]
    assert choose_best(finalists, budget("60%"), None) == (None, finalists[1])
    assert choose_best([], budget("60%"), None) == (None, None)


def test_no_faster_than_dense_never_wins() -> None:
    finalists = [finalist(1, 0.95, 1.05)]
    assert choose_best(finalists, budget("120%"), None)[0] is None
    finalists.append(finalist(2, 0.90, 0.90))
    assert choose_best(finalists, budget("120%"), None)[0] is finalists[1]


def test_dense_wins_where_nothing_gated_is_as_good() -> None:
    dense = replace(finalist(0, 0.95, 1.01), policy=Policy())
    gated = finalist(1, 0.90, 0.80)
    assert choose_best([gated, dense], budget("120%"), None, tolerance=0.01)[0] is dense
    assert choose_best([gated, dense], budget("120%"), None, tolerance=0.06)[0] is gated
    assert choose_best([gated, dense], Budgets(), 0.94)[0] is dense
    assert choose_best([gated, dense], Budgets(), 0.89)[0] is gated


def test_under_a_floor_the_fastest_wins() -> None:
    finalists = [finalist(1, 0.80, 0.40), finalist(2, 0.86, 0.55), finalist(3, 0.90, 0.65)]
    assert choose_best(finalists, Budgets(), 0.85) == (finalists[1], None)
    assert choose_best(finalists, Budgets(), 0.79) == (finalists[0], None)
    assert choose_best(finalists, Budgets(), 0.95)[0] is None


def heavy(peak_memory_bytes: float, dense_bytes: float = 1000.0) -> FinalistRecord:
    costs = {"peak_memory_bytes": peak_memory_bytes, "dense_peak_memory_bytes": dense_bytes}
    return replace(finalist(1, 0.9, 0.5), costs=costs)


def test_a_memory_budget_is_judged_by_the_peak() -> None:
    for text in ("60%", "600KB"):
        budgets = Budgets.parse(memory=text)
        scale = 1.0 if "%" in text else 1000.0
        assert judge(heavy(600 * scale, 1000 * scale), budgets).met
        assert judge(heavy(660 * scale, 1000 * scale), budgets).excess == pytest.approx(0.1)
    # What was never observed is never within a budget.
    assert not judge(finalist(1, 0.9, 0.5), Budgets.parse(memory="99GiB")).met


def drawing(ratio: float, half: float = 0.01, dense_joules: float = 2.0) -> FinalistRecord:
    gated = ratio * dense_joules
    energy = EnergyComparison(
        dense_joules,
        gated,
        (gated - half * dense_joules, gated + half * dense_joules),
        ratio,
        (ratio - half, ratio + half),
        6,
    )
    return replace(finalist(1, 0.9, 0.5), comparison=replace(comparison(0.5), energy=energy))


def test_an_energy_budget_is_judged_by_the_upper_end() -> None:
    assert judge(drawing(0.69), Budgets.parse(energy="70%")).met
    assert not judge(drawing(0.695), Budgets.parse(energy="70%")).met
    assert judge(drawing(0.49), Budgets.parse(energy="1J")).met
    assert judge(drawing(0.54), Budgets.parse(energy="1J")).excess == pytest.approx(0.1)
    assert not judge(finalist(1, 0.9, 0.5), Budgets.parse(energy="99J")).met
    dense = replace(drawing(1.01), policy=Policy())
    assert judge(dense, Budgets.parse(energy="100%")).met
    assert not judge(dense, Budgets.parse(energy="99%")).met


def test_the_worst_of_several_budgets_decides() -> None:
    both = replace(drawing(0.77), costs=heavy(900.0).costs)
    assert judge(both, Budgets.parse("60%", "95%", "80%")).met
    assert judge(both, Budgets.parse("60%", "95%", "70%")).excess == pytest.approx(0.78 / 0.7 - 1)
    assert judge(both, Budgets.parse("60%", "50%", "70%")).excess == pytest.approx(0.8)
    assert choose_best([both], Budgets.parse("60%", "50%", "70%"), None) == (None, both)


def test_which_budgets_rule_dense_out() -> None:
    assert binds(Budgets.parse("60%"), 10.0, 1000.0)
    assert not binds(Budgets.parse("120%"), 10.0, 1000.0)
    assert not binds(Budgets.parse("120%", "100%"), 10.0, 1000.0)
    assert binds(Budgets.parse("120%", "99%"), 10.0, 1000.0)
    assert binds(Budgets.parse("120%", energy="120%"), 10.0, 1000.0)
    assert binds(Budgets(), 10.0, None)
