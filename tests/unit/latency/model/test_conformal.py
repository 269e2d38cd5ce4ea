from __future__ import annotations

import numpy as np
import pytest

from autogate.latency.model import upper_residual


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
