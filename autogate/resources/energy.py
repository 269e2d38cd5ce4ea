"""Measure the energy per image of a gated network and the dense one, in windows that take turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import numpy as np
import pynvml
import torch
from scipy import stats
from torch import nn

from autogate.errors import DeviceError
from autogate.latency.hardware import exclusive_inference, handle_of
from autogate.latency.timing import Clock, prepare, prepare_input
from autogate.records import EnergyComparison, Setting
from autogate.runtimes import runnable


class EnergyCounter:
    """Reads the energy that a whole GPU has used since its driver was loaded.

    Args:
        gpu: The library's handle of the GPU.
        nvml: The management library.
    """

    def __init__(self, gpu: Any, nvml: Any = pynvml) -> None:
        self.gpu = gpu
        self.nvml = nvml

    def joules(self) -> float:
        """Return the reading in joules; it moves in steps, several times a second."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu)) / 1000


@contextmanager
def energy_counter(device: torch.device) -> Iterator[EnergyCounter | None]:
    """Yield the counter of ``device``, or None where nothing counts its energy: on a CPU, and on old GPUs."""
    if not counts_energy(device):
        yield None
        return
    with handle_of(device) as gpu:
        yield EnergyCounter(gpu)


def counts_energy(device: torch.device) -> bool:
    """Whether the energy of ``device`` can be read."""
    if device.type != "cuda":
        return False
    try:
        with handle_of(device) as gpu:
            EnergyCounter(gpu).joules()
    except pynvml.NVMLError:
        return False
    return True


_WINDOWS = 6
_WINDOW_S = 1.5
# Between two looks at the counter; well below the time between its steps.
_BURST_S = 0.01
_STANDSTILL_S = 10.0


def compare_energy(
    dense: nn.Module,
    gated: nn.Module,
    inputs: Sequence[torch.Tensor],
    setting: Setting,
    counter: EnergyCounter,
    *,
    windows: int = _WINDOWS,
    window_s: float = _WINDOW_S,
    standstill_s: float = _STANDSTILL_S,
    seed: int = 0,
) -> EnergyComparison:
    """Return the energy per image of two compact networks that run without a pause.

    Every pair of windows runs both networks, in random order. A window begins and ends at a step of the counter, so
    that a coarse counter costs no accuracy. The energy is that of the whole device, what it draws when idle included.

    Args:
        dense: The dense compact network; it is moved to the setting's device.
        gated: The gated compact network, prepared in the same way.
        inputs: Input batches, float32 ``[batch, C, H, W]`` each; they take turns.
        setting: How to run.
        counter: The energy counter of the setting's device.
        windows: Windows of each network, at least 2.
        window_s: Shortest window, in seconds.
        standstill_s: How long to wait for the counter to move, in seconds.
        seed: Seed of the order.

    Raises:
        DeviceError: If the counter does not move.
    """
    batches = [prepare_input(x, setting) for x in inputs]
    rng = random.Random(seed)
    joules: tuple[list[float], list[float]] = ([], [])
    with exclusive_inference(setting):
        bursts = [_Burst(prepare(network, setting), batches, setting) for network in (dense, gated)]
        for _ in range(windows):
            for which in rng.sample((0, 1), 2):
                joules[which].append(_window(bursts[which], counter, window_s, standstill_s) / setting.batch_size)
    ratios = [gated / dense for dense, gated in zip(*joules, strict=True)]
    return EnergyComparison(
        float(np.mean(joules[0])),
        float(np.mean(joules[1])),
        _interval(joules[1]),
        float(np.mean(ratios)),
        _interval(ratios),
        windows,
    )


class _Burst:
    """Runs a network for about ``_BURST_S`` and waits until the device has done it.

    Args:
        network: The network, in the setting's form.
        batches: Input batches in the setting's form, which take turns.
        setting: How it runs.
    """

    def __init__(self, network: nn.Module, batches: Sequence[torch.Tensor], setting: Setting) -> None:
        self.run = runnable(network, batches[0], setting)
        self.batches = cycle(batches)
        self.clock = Clock(torch.device(setting.device))
        self.passes = len(batches)
        self()  # warm-up
        start = time.monotonic()
        self()
        self.passes = max(1, int(_BURST_S * self.passes / (time.monotonic() - start)))

    def __call__(self) -> int:
        """Return the number of passes."""
        for _ in range(self.passes):
            self.run(next(self.batches))
        self.clock.settle()
        return self.passes


def _window(burst: Callable[[], int], counter: EnergyCounter, seconds: float, standstill_s: float) -> float:
    """Return the joules per pass between two steps of the counter that are at least ``seconds`` apart."""
    start_joules, _ = _next_step(burst, counter, standstill_s)
    end = time.monotonic() + seconds
    passes = 0
    while time.monotonic() < end:
        passes += burst()
    end_joules, more = _next_step(burst, counter, standstill_s)
    return (end_joules - start_joules) / (passes + more)


def _next_step(burst: Callable[[], int], counter: EnergyCounter, standstill_s: float) -> tuple[float, int]:
    """Run until the counter moves; return its reading in joules and the passes until then."""
    before, passes = counter.joules(), 0
    end = time.monotonic() + standstill_s
    while time.monotonic() < end:
        passes += burst()
        if (reading := counter.joules()) != before:
            return reading, passes
    raise DeviceError(
        f"the device's energy counter did not move in {standstill_s:g} s of work; leave --energy-budget out"
    )


def _interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by Student's t."""
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=max(stats.sem(values), 1e-12))
    return float(low), float(high)
