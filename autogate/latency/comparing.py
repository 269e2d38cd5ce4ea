"""Measure a gated network beside the dense one: interleaved, in one process, on the same inputs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from autogate.latency.threads import inference
from autogate.latency.timing import Clock, interleave, prepare, prepare_input
from autogate.records import Comparison, LatencyStat, Measurement, Setting

_MIN_REPEATS = 15
_BOOTSTRAP = 400
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
    the median of its repeats, and the statistics are over inputs.

    Args:
        dense: The dense compact network; it is moved to the setting's device.
        gated: The gated compact network; likewise.
        inputs: Input batches, float32 ``[batch, C, H, W]`` each.
        setting: How to run.
        varies: Whether the gated network's cost depends on the input.
        stat: The statistic whose ratio is reported.
        seconds: Longest time to spend.
        seed: Seed of the order of passes and of the bootstrap.
    """
    networks = [prepare(dense, setting), prepare(gated, setting)]
    batches = [prepare_input(x, setting) for x in inputs]
    clock = Clock(torch.device(setting.device))
    times: list[list[list[float]]] = [[[] for _ in batches] for _ in networks]
    turn = [0, 0]

    def timed(which: int) -> None:
        i = turn[which] % len(batches)
        turn[which] += 1
        start = clock.now()
        networks[which](batches[i])
        times[which][i].append(clock.between_ms(start, clock.now()))

    check_every = max(len(batches), 10)
    checked = time.monotonic()

    def narrow(rounds: int) -> bool:
        nonlocal checked
        if rounds < _MIN_REPEATS * (len(batches) if varies else 1) or rounds % check_every:
            return False
        if time.monotonic() - checked < 0.5:
            return False
        checked = time.monotonic()
        low, high = _ratio_interval(times, varies, stat, seed, resamples=100)
        return (high - low) / 2 < _HALF_WIDTH

    with inference(setting):
        for _ in range(3):
            for network in networks:
                network(batches[0])
        interleave(
            [lambda: timed(0), lambda: timed(1)], seconds=seconds, warm_up=1, max_rounds=20_000,
            min_rounds=_MIN_REPEATS, seed=seed, done=narrow,
        )  # fmt: skip
    ratio = _stat(times[1], varies, stat) / _stat(times[0], False, stat)
    return Comparison(
        _summary(times[0], False, stat, seed), _summary(times[1], varies, stat, seed), ratio,
        _ratio_interval(times, varies, stat, seed, _BOOTSTRAP), setting,
    )  # fmt: skip


def _per_input(times: list[list[float]], varies: bool) -> np.ndarray:
    """Latency of each input: the median of its repeats; one for all where the cost does not vary."""
    if not varies:
        return np.array([np.median(np.concatenate([np.asarray(t) for t in times]))])
    return np.array([np.median(t) for t in times if t])


def _stat(times: list[list[float]], varies: bool, stat: LatencyStat) -> float:
    latencies = _per_input(times, varies)
    if stat == "mean":
        return float(latencies.mean())
    return float(np.percentile(latencies, {"p50": 50, "p95": 95, "max": 100}[stat]))


def _resample(times: list[list[float]], rng: np.random.Generator) -> list[list[float]]:
    return [list(rng.choice(t, len(t))) if t else [] for t in times]


def _ratio_interval(
    times: list[list[list[float]]], varies: bool, stat: LatencyStat, seed: int, resamples: int
) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        dense, gated = (_resample(t, rng) for t in times)
        ratios.append(_stat(gated, varies, stat) / _stat(dense, False, stat))
    return _basic_interval(_stat(times[1], varies, stat) / _stat(times[0], False, stat), ratios)


def _basic_interval(value: float, resampled: list[float]) -> tuple[float, float]:
    """Return the basic bootstrap interval: resampling lifts high percentiles, which mirroring takes back."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return 2 * value - float(high), 2 * value - float(low)


def _summary(times: list[list[float]], varies: bool, stat: LatencyStat, seed: int) -> Measurement:
    latencies = _per_input(times, varies)
    rng = np.random.default_rng(seed)
    resampled = [_stat(_resample(times, rng), varies, stat) for _ in range(_BOOTSTRAP)]
    interval = _basic_interval(_stat(times, varies, stat), resampled)
    p50, p95 = np.percentile(latencies, [50, 95])
    return Measurement(
        float(latencies.mean()), float(p50), float(p95), float(latencies.max()), interval,
        len(times), min(len(t) for t in times),
    )  # fmt: skip
