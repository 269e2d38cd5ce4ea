"""What whole networks teach the sum of their units, and how far off it may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from autogate.latency.model.calibration import calibrate
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
