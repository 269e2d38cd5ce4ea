"""The numbers of channels that a runtime computes without waste: its kernels work on blocks of 8, 16 or more."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from autogate.latency.profile.instruments import REAL, Instruments
from autogate.latency.timing import WARM_UP_S, interleave, prepare, random_input
from autogate.policy import Gate, Policy
from autogate.records import Setting
from autogate.sites import Network, find_sites
from autogate.surgery import attach_gates, canonical, compact_form

STEPS = (1, 8, 16, 32)
"""Steps that are looked for; 1 is none."""
_SIZE, _WIDE, _MOST = 14, 64, 128
# Numbers that are no multiple of 4 have a price of their own in some runtimes, which would hide the steps.
_COUNTS = tuple(range(_WIDE + 4, _MOST + 1, 4))
# Of what a line leaves unexplained, a staircase must leave less than this share: the rest may be noise.
_CLEAR = 0.4
# Steps lower than this share of the time are not worth looking for.
_LEAST = 0.003


class _Layers(nn.Module):
    """Two convolutions with the channels in question between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(_WIDE, _MOST, 3, padding=1)
        self.second = nn.Conv2d(_MOST, _WIDE, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self.second(torch.relu(self.first(x))).mean((2, 3))
        return mean


def channel_step(setting: Setting, seconds: float, *, instruments: Instruments = REAL) -> int:
    """Return the step in which a runtime's time grows with the number of channels, one of :data:`STEPS`.

    Two convolutions are timed with so many channels between them, in turns, and the step is the one whose staircase
    fits best. It is 1 where time grows evenly, or noise hides how.

    Args:
        setting: Device, runtime, element type, batch and threads.
        seconds: Time for the passes, or for a few of each if these take longer.
        instruments: What to measure with.

    Raises:
        DeviceError: If the layers do not run so.
    """
    network = find_sites(_Layers().eval(), (_WIDE, _SIZE, _SIZE))
    example = random_input(network.input_shape, setting)
    subjects = [instruments.timed(prepare(_thinned(network, n), setting), example, setting) for n in _COUNTS]
    with instruments.exclusive(setting):
        passes = interleave(subjects, seconds=seconds, warm_up_s=WARM_UP_S, min_rounds=7, clock=instruments.clock)
    return best_step(_COUNTS, np.median(passes.ms, axis=1))


def best_step(counts: Sequence[int], times_ms: np.ndarray) -> int:
    """Return the step whose staircase fits times best, the finest of equals.

    Args:
        counts: Numbers of channels.
        times_ms: What they take, in milliseconds, ``[counts]``.
    """
    left = {step: _unexplained(counts, times_ms, step) for step in STEPS}
    best = min(STEPS, key=lambda step: left[step])
    least = len(counts) * (_LEAST * float(np.median(times_ms))) ** 2
    return best if left[best] < _CLEAR * left[1] and left[1] > least else 1


def _unexplained(counts: Sequence[int], times_ms: np.ndarray, step: int) -> float:
    """Return the sum of squares that a line leaves, which rises besides with every whole step."""
    steps = [math.ceil(count / step) for count in counts]
    columns = np.column_stack([np.ones(len(counts)), counts, steps]).astype(np.float64)
    fitted = columns @ np.linalg.lstsq(columns, times_ms, rcond=None)[0]
    return float(((times_ms - fitted) ** 2).sum())


def _thinned(network: Network, channels: int) -> nn.Module:
    gates = {} if channels == _MOST else {"map:first": Gate("magnitude", {"ratio": 1 - channels / _MOST})}
    policy = canonical(Policy(gates), network.sites)
    return compact_form(network, policy, attach_gates(network, policy))
