"""What whole networks teach the sum of their units, and how far off it may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from autogate.latency.model.calibration import calibrate, upper_residual
from autogate.latency.model.operators import Regime
from autogate.records import NetworkSample


def networks(ms: Sequence[float]) -> list[NetworkSample]:
    return [NetworkSample([], (), float(one), 0.0, 5, number, 0) for number, one in enumerate(ms)]


def test_each_regime_has_its_own_bound() -> None:
    rng = np.random.default_rng(0)
    composed = np.linspace(1.0, 4.0, 80)
    noise = np.where(np.arange(80) % 2, 0.01, 0.10)
    found = calibrate(
        networks(composed * np.exp(noise * rng.normal(size=80))),
        lambda row: float(composed[row.network]),
        lambda row: "compute-bound" if row.network % 2 else "bandwidth-bound",
    )
    stationary, unsteady = found.error_in["compute-bound"], found.error_in["bandwidth-bound"]
    assert 0.01 < stationary < 0.04 < found.error < unsteady < 0.3


def test_a_regime_of_few_networks_has_the_bound_of_all() -> None:
    composed = np.linspace(1.0, 4.0, 40)
    regimes: list[Regime | None] = ["compute-bound"] * 25 + ["launch-bound"] * 10 + [None] * 5
    found = calibrate(networks(composed), lambda row: float(composed[row.network]), lambda row: regimes[row.network])
    assert list(found.error_in) == ["compute-bound"]
    assert found.error == pytest.approx(0.005)


def test_rank_of_a_hand_case() -> None:
    residuals = np.arange(1, 40) / 100
    # The ceil(40 * 0.95) = 38th of 39.
    assert upper_residual(residuals) == pytest.approx(0.38)
    assert upper_residual(residuals[::-1], level=0.5) == pytest.approx(0.20)


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform"])
def test_a_further_residual_is_covered_whatever_the_distribution(draw: str) -> None:
    rng = np.random.default_rng(0)
    sample = {"normal": rng.normal, "exponential": rng.exponential, "uniform": rng.uniform}[draw]
    covered = [sample(size=1)[0] <= upper_residual(sample(size=28)) for _ in range(4000)]
    assert 0.95 <= np.mean(covered) <= 0.975


def test_few_residuals_give_a_bound_beyond_the_largest() -> None:
    rng = np.random.default_rng(0)
    residuals = rng.normal(0, 0.02, 8)
    assert upper_residual(residuals) >= residuals.max()
    covered = [rng.normal() <= upper_residual(rng.normal(size=8)) for _ in range(4000)]
    assert np.mean(covered) >= 0.94


DROP, MOD = ("drop", "block"), ("mod", "block")


@pytest.mark.parametrize("count", [12, 48])
def test_what_gates_do_to_the_units_around_them_is_found_for_each_kind(count: int) -> None:
    rng = np.random.default_rng(1)
    composed = rng.uniform(0.2, 1.0, count)
    held = [{DROP: int(rng.integers(0, 6)), MOD: int(rng.integers(0, 4))} for _ in range(count)]
    measured = composed + np.array([0.010 * one[DROP] - 0.006 * one[MOD] for one in held])
    rows = networks(measured * np.exp(0.002 * rng.normal(size=count)))
    plain = calibrate(rows, lambda row: float(composed[row.network]), lambda _: None)
    found = calibrate(rows, lambda row: float(composed[row.network]), lambda _: None, lambda row: held[row.network])
    assert not plain.kinds_ms
    # A kind counts for little until many networks show it.
    assert 0.3 * 0.010 < found.kinds_ms[DROP] < 0.011
    assert -0.007 < found.kinds_ms[MOD] < 0.3 * -0.006
    assert found.error < 0.7 * plain.error


def test_gates_that_do_nothing_to_their_neighbours_have_next_to_no_time_of_their_own() -> None:
    rng = np.random.default_rng(2)
    composed = rng.uniform(0.2, 1.0, 48)
    held = [{DROP: int(rng.integers(0, 6))} for _ in range(48)]
    rows = networks(composed * np.exp(0.02 * rng.normal(size=48)))
    found = calibrate(rows, lambda row: float(composed[row.network]), lambda _: None, lambda row: held[row.network])
    assert abs(found.kinds_ms[DROP]) < 0.002
