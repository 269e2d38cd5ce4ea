"""The canary: the dense network, run again to see whether the device is as fast as when it was profiled."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from autogate.latency.model import LatencyModel
from autogate.latency.steadiness import steady
from autogate.latency.subjects import script
from autogate.latency.threads import inference
from autogate.latency.timing import Clock, interleave, prepare, random_input, timed
from autogate.policy import DENSE, Policy
from autogate.records import MIXED
from autogate.surgery import attach_gates, compact_form

_SECONDS = 3.0
_MIN_ROUNDS = 15


def canary(model: LatencyModel, *, seconds: float = _SECONDS, among: int = 0) -> float:
    """Return the dense network's latency now over the predicted one.

    Args:
        model: The latency model.
        seconds: Time to spend.
        among: How many other networks of the profile run between two passes; with none, caches are warm.
    """
    setting = model.profile.setting
    network = replace(model.network, model=copy.deepcopy(model.network.model))
    forms = [compact_form(network, DENSE, {}, share_weights=True)]
    for sample in [sample for sample in model.profile.networks[1:] if sample.phase == MIXED][:among]:
        policy = Policy.from_json(sample.policy)
        gates = attach_gates(network, policy)
        forms.append(compact_form(network, policy, gates, plan=sample.executors, share_weights=True))
        script(forms[-1], sample.decisions)
    x = random_input(network.input_shape, setting)
    clock = Clock(torch.device(setting.device))
    times: list[list[float]] = [[] for _ in forms]
    runs = [timed(prepare(form, setting), x, clock, passes) for form, passes in zip(forms, times, strict=True)]
    with inference(setting):
        rounds = interleave(runs, seconds=seconds, min_rounds=_MIN_ROUNDS)
    table = np.array([passes[-rounds:] for passes in times])
    return float(np.median(table[0, steady(table).kept])) / model.dense_ms
