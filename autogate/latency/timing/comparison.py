"""Compare a gated network with the dense one: interleaved, in one process, on the same inputs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from autogate.latency.hardware import exclusive_inference
from autogate.latency.timing.disturbance import quiet_passes
from autogate.latency.timing.interleaving import Round, interleave
from autogate.latency.timing.timing import Clock, pass_ms, prepare, prepare_input
from autogate.records import Comparison, LatencyStat, Measurement, Setting
from autogate.runtimes import Runnable, runnable

_MIN_REPEATS = 15
_MIN_VARYING_REPEATS = 10
_MIN_VARYING_INPUTS = 8
_WARM_UP_PASSES = 3
_RESAMPLES = 400
# Rounds go on until the interval of the ratio is this narrow, or the time is up.
_HALF_WIDTH = 0.01


def compare(
    dense: nn.Module,
    gated: nn.Module,
    inputs: Sequence[torch.Tensor],
    setting: Setting,
    *,
    varies: bool,
    stat: LatencyStat = "p95",
    seconds: float = 20.0,
    seed: int = 0,
) -> Comparison:
    """Time two compact networks against each other.

    Every round runs both networks once on one input, in random order; inputs take turns. A network whose
    cost does not vary has one latency, the median over all its passes; otherwise each input's latency is
    the median of its repeats, and the statistics are over inputs. Passes that other work disturbed are left out.

    Args:
        dense: The dense compact network; it is moved to the setting's device.
        gated: The gated compact network, prepared in the same way.
        inputs: Input batches, float32 ``[batch, C, H, W]`` each; fewer are used if the time is too short to
            repeat all of them.
        setting: How to run.
        varies: Whether the gated network's cost depends on the input.
        stat: The statistic whose ratio is reported.
        seconds: Longest time to spend.
        seed: Seed of the order of passes and of the bootstrap.
    """
    modules = [prepare(dense, setting), prepare(gated, setting)]
    batches = [prepare_input(x, setting) for x in inputs]
    with exclusive_inference(setting):
        runs = runnable(modules[0], batches[0], setting), runnable(modules[1], batches[0], setting)
        return compare_runs(runs, batches, setting, varies=varies, stat=stat, seconds=seconds, seed=seed)


def compare_runs(
    networks: tuple[Runnable, Runnable],
    batches: Sequence[torch.Tensor],
    setting: Setting,
    *,
    varies: bool,
    stat: LatencyStat = "p95",
    seconds: float = 20.0,
    seed: int = 0,
) -> Comparison:
    """Time two networks that are ready to run against each other, as :func:`compare` does; the caller has the device.

    Args:
        networks: The dense network and the gated one.
        batches: Input batches as the networks take them.
        setting: How they run.
        varies: Whether the gated network's cost depends on the input.
        stat: The statistic whose ratio is reported.
        seconds: Longest time to spend.
        seed: Seed of the order of passes and of the bootstrap.
    """
    clock = Clock(torch.device(setting.device))
    times: tuple[list[float], list[float]] = ([], [])

    def timed(which: int) -> float:
        batch = batches[len(times[which]) % len(batches)]
        times[which].append(pass_ms(networks[which], batch, clock))
        return times[which][-1]

    def both() -> None:
        for which in (0, 1):
            timed(which)

    checked = time.monotonic()

    def narrow(one: Round) -> bool:
        nonlocal checked
        if one.number % len(batches) or time.monotonic() - checked < 0.5:
            return False
        checked = time.monotonic()
        low, high = _Table(times, len(batches), varies, stat, seed).ratio_interval(resamples=100)
        return (high - low) / 2 < _HALF_WIDTH

    start = time.monotonic()
    for _ in range(_WARM_UP_PASSES):
        both()
    if varies:
        rounds_in_time = seconds * _WARM_UP_PASSES / (time.monotonic() - start)
        batches = batches[: max(_MIN_VARYING_INPUTS, int(rounds_in_time / _MIN_VARYING_REPEATS))]
    repeats = _MIN_VARYING_REPEATS * len(batches) if varies else max(_MIN_REPEATS, len(batches))
    for passes in times:
        passes.clear()
    interleave(
        [lambda: timed(0), lambda: timed(1)],
        seconds=seconds,
        warm_up=0,
        max_rounds=20_000,
        min_rounds=repeats,
        seed=seed,
        done=narrow,
    )
    table = _Table(times, len(batches), varies, stat, seed)
    return Comparison(table.summary(0), table.summary(1), table.ratio(), table.ratio_interval(_RESAMPLES), setting)


class _Table:
    """Times by network, repeat and input, and the statistics of them.

    Args:
        times: For each network the times of its passes in order, in milliseconds; inputs took turns.
        inputs: Number of inputs.
        varies: Whether the second network's cost depends on the input.
        stat: The statistic over inputs.
        seed: Seed of the bootstrap.
    """

    def __init__(
        self, times: tuple[list[float], list[float]], inputs: int, varies: bool, stat: LatencyStat, seed: int
    ) -> None:
        repeats = len(times[0]) // inputs
        shape = (repeats, inputs) if varies else (len(times[0]), 1)
        self.varies = (False, varies)
        tables = [np.array(passes[: shape[0] * shape[1]]).reshape(shape) for passes in times]
        self.ms = [_without_disturbed(table, varies) for table, varies in zip(tables, self.varies, strict=True)]
        self._input_ms = [np.nanmedian(table, axis=0) for table in self.ms]
        self.stat = stat
        self.inputs, self.repeats = inputs, repeats
        self.seed = seed

    def ratio(self) -> float:
        """Gated over dense."""
        return self._statistic(1, self.ms[1]) / self._statistic(0, self.ms[0])

    def ratio_interval(self, resamples: int) -> tuple[float, float]:
        """95 % interval of the ratio; both networks are resampled together, round by round."""
        ratios = [
            self._statistic(1, self.ms[1][rows]) / self._statistic(0, self.ms[0][rows])
            for rows in self._resampled_rows(resamples)
        ]
        return _basic_interval(self.ratio(), ratios)

    def summary(self, which: int) -> Measurement:
        """Statistics over inputs of one network, with the interval of the chosen one."""
        table = self.ms[which]
        latencies = self._latencies(which, table)
        resampled = [self._statistic(which, table[rows]) for rows in self._resampled_rows(_RESAMPLES)]
        p50, p95 = map(float, np.percentile(latencies, [50, 95]))
        pass_p90, pass_p99 = map(float, np.nanpercentile(table, [90, 99]))
        interval = _basic_interval(self._statistic(which, table), resampled)
        mean, slowest = float(latencies.mean()), float(latencies.max())
        return Measurement(mean, p50, p95, slowest, interval, self.inputs, self.repeats, pass_p90, pass_p99)

    def _latencies(self, which: int, table: np.ndarray) -> np.ndarray:
        """Latency of each input; one for all where the cost does not vary.

        A resampled table may hold no undisturbed pass of an input; its latency is then that of all its passes.
        """
        if not self.varies[which]:
            table = table.reshape(-1, 1)
            if np.isnan(table).all():
                table = self.ms[which].reshape(-1, 1)
            return np.asarray(np.nanmedian(table, axis=0))
        gone = np.isnan(table).all(axis=0)
        found = np.nanmedian(np.where(gone, 0.0, table), axis=0)
        return np.where(gone, self._input_ms[which], found)

    def _statistic(self, which: int, table: np.ndarray) -> float:
        latencies = self._latencies(which, table)
        if self.stat == "mean":
            return float(latencies.mean())
        return float(np.percentile(latencies, {"p50": 50, "p95": 95, "max": 100}[self.stat]))

    def _resampled_rows(self, resamples: int) -> list[np.ndarray]:
        """Rows drawn in blocks of neighbours, since what disturbs one round disturbs the next."""
        rng = np.random.default_rng(self.seed)
        n = len(self.ms[0])
        length = max(1, round(n**0.5))
        starts = rng.integers(0, n, (resamples, -(-n // length)))
        rows = (starts[:, :, None] + np.arange(length)) % n
        return list(rows.reshape(resamples, -1)[:, :n])


def _without_disturbed(table: np.ndarray, varies: bool) -> np.ndarray:
    """Return times, ``[repeats, inputs]``, with NaN for disturbed passes; inputs may differ if the cost ``varies``."""
    quiet = quiet_passes(table.T).T if varies else quiet_passes(table.ravel()).reshape(table.shape)
    return np.where(quiet, table, np.nan)


def _basic_interval(value: float, resampled: list[float]) -> tuple[float, float]:
    """Return the basic bootstrap interval: resampling lifts high percentiles, which mirroring takes back."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return 2 * value - float(high), 2 * value - float(low)
