"""Passes that a neighbour disturbed are told from those that had the cores to themselves."""

from __future__ import annotations

import numpy as np
import pytest

from autogate.latency.timing import TOO_NOISY, quiet_passes, stationary
from autogate.latency.timing.comparison import _Table

SLICE_MS = 4.0


def disturbed(true_ms: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return times of passes of which a share waits for some of a neighbour's time slices, and which those are."""
    waits = rng.random(true_ms.shape) < share
    slices = rng.integers(1, 40, true_ms.shape) * rng.uniform(0.5, 1.0, true_ms.shape)
    return np.where(waits, true_ms + slices * SLICE_MS, true_ms), waits


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_the_undisturbed_passes_are_found(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    usual_ms = np.array([[0.4], [1.0], [2.5], [6.0]])
    times, waits = disturbed(usual_ms * rng.normal(1.0, 0.02, (4, 80)), share, rng)
    quiet = quiet_passes(times)
    assert (quiet | waits).all()
    some = waits.mean(axis=1) > 0.25  # fewer move no median, and are left in
    assert not (quiet & waits)[some].any()
    # What is left gives the networks' own times, however many were left out.
    groups = np.tile(np.arange(80), (4, 1))
    assert stationary(times, groups, quiet=quiet).medians(times) == pytest.approx(usual_ms[:, 0], rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_left_out_on_a_quiet_machine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = rng.lognormal(0.0, rng.uniform(0.01, 0.1), (6, 40))
    times[0, 3] *= 5  # one of forty that stumbles moves no median
    assert quiet_passes(times).all()
    groups = np.tile(np.arange(40), (6, 1))
    with_filter, without = stationary(times, groups, quiet=quiet_passes(times)), stationary(times, groups)
    assert (with_filter.kept == without.kept).all()
    assert (with_filter.slowdown == without.slowdown).all()


def test_a_few_passes_are_kept_even_if_none_was_like_another() -> None:
    times = np.array([[1.0, 2.0, 4.0, 8.0, 16.0]])
    assert quiet_passes(times).tolist() == [[True, True, True, False, False]]
    low, median, high = np.percentile(times[0, :3], [25, 50, 75])
    assert high - low > TOO_NOISY * median  # by which the network is known to be disturbed


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_neighbour_does_not_change_a_ratio(varies: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs, repeats, dense_ms = 8, 40, 1.5
    gated_ms = np.tile(np.linspace(0.6, 1.2, inputs) if varies else np.full(inputs, 0.9), repeats)
    true = [np.full(inputs * repeats, dense_ms), gated_ms]
    # Dense has more parts in which threads wait for each other, so that it suffers more.
    times = [disturbed(ms, share, rng)[0] for ms, share in zip(true, (0.7, 0.5), strict=True)]
    table = _Table((list(times[0]), list(times[1])), inputs, varies, "max", 0)
    ratio = gated_ms.max() / dense_ms
    low, high = table.ratio_interval(100)
    assert table.ratio() == pytest.approx(ratio, rel=0.02)
    assert low - 0.01 <= ratio <= high + 0.01
    assert table.summary(0).p50 == pytest.approx(dense_ms, rel=0.02)
