"""The canary: the dense network, run again to see whether the device is as fast as when it was profiled."""

from __future__ import annotations

import numpy as np
import torch

from autogate.latency.model import LatencyModel
from autogate.latency.steadiness import steady
from autogate.latency.threads import inference
from autogate.latency.timing import Clock, interleave, prepare, random_input, timed
from autogate.policy import DENSE
from autogate.surgery import compact_form

_SECONDS = 3.0
_MIN_ROUNDS = 15


def canary(model: LatencyModel, *, seconds: float = _SECONDS) -> float:
    """Return the dense network's latency now over the predicted one."""
    setting = model.profile.setting
    form = prepare(compact_form(model.network, DENSE, {}), setting)
    x = random_input(model.network.input_shape, setting)
    times: list[float] = []
    run = timed(form, x, Clock(torch.device(setting.device)), times)
    with inference(setting):
        rounds = interleave([run], seconds=seconds, min_rounds=_MIN_ROUNDS)
    table = np.array([times[-rounds:]])
    return float(np.median(table[:, steady(table).kept])) / model.dense_ms
