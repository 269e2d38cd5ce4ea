"""The canary: networks that run again to see whether the device is as fast as when it was profiled."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from autogate.latency.model import LatencyModel
from autogate.latency.plan import PlannedNetwork
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
    """Return latency now over predicted latency: of the dense network, or the median of it and ``among`` others.

    Args:
        model: The latency model.
        seconds: Time to spend.
        among: How many other networks of the profile take turns with the dense one; with none, caches are warm.
    """
    setting = model.profile.setting
    network = replace(model.network, model=copy.deepcopy(model.network.model))
    forms, predicted_ms = [compact_form(network, DENSE, {}, share_weights=True)], [model.dense_ms]
    for sample in [sample for sample in model.profile.networks[1:] if sample.phase == MIXED][:among]:
        planned = PlannedNetwork(Policy.from_json(sample.policy), sample.decisions, sample.executors)
        gates = attach_gates(network, planned.policy)
        forms.append(compact_form(network, planned.policy, gates, plan=planned.executors, share_weights=True))
        script(forms[-1], planned.decisions)
        predicted_ms.append(model.predict(planned.policy, planned.realisation()).p50)
    x = random_input(network.input_shape, setting)
    clock = Clock(torch.device(setting.device))
    times: list[list[float]] = [[] for _ in forms]
    runs = [timed(prepare(form, setting), x, clock, passes) for form, passes in zip(forms, times, strict=True)]
    with inference(setting):
        rounds = interleave(runs, seconds=seconds, min_rounds=_MIN_ROUNDS)
    table = np.array([passes[-rounds:] for passes in times])
    now_ms = np.median(table[:, steady(table).kept], axis=1)
    return float(np.median(now_ms / np.array(predicted_ms)))
