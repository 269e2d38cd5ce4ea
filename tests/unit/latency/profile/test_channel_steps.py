"""The step between numbers of channels is the one in which a device's time grows."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from autogate.latency.hardware import setting_of
from autogate.latency.profile import Instruments, channel_step
from autogate.records import Setting


class Device:
    """Computes channels in whole steps, with noise of a share of the time; time passes as networks run."""

    def __init__(self, step: int, noise: float, line: float) -> None:
        self.step, self.noise, self.line, self.now_s = step, noise, line, 0.0
        self.random = np.random.default_rng(step)
        self.instruments = Instruments(
            clock=lambda: self.now_s, exclusive=lambda setting: nullcontext(), timed=self.timed
        )

    def timed(self, module: nn.Module, x: torch.Tensor, setting: Setting) -> Callable[[], float]:
        [channels] = {layer.out_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)} - {64}
        whole = self.step * math.ceil(channels / self.step)
        ms = 0.05 + 0.003 * ((1 - self.line) * whole + self.line * channels)

        def run() -> float:
            self.now_s += 0.01
            return ms * (1 + self.noise * self.random.standard_normal())

        return run


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("line", [0.0, 0.5])
@pytest.mark.parametrize("step", [1, 8, 16, 32])
def test_the_step_of_a_device_is_found_through_its_noise(step: int, line: float, noise: float) -> None:
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)
    found = channel_step(setting, 3.0, instruments=Device(step, noise, line).instruments)
    # Small steps drown in noise first; then time counts as growing evenly, which thins no gate that pays.
    assert found in ({step, 1} if step == 8 and noise == 0.03 else {step})


@pytest.mark.e2e  # of a real device
def test_onnx_runtime_takes_channels_in_some_step() -> None:
    setting = setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1, runtime="onnxruntime")
    assert channel_step(setting, 0.5) in {1, 8, 16, 32}
