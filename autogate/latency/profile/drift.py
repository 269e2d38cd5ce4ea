"""The canary: networks that run again to see whether the device is as fast as when it was profiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autogate.latency.hardware import exclusive_inference
from autogate.latency.model import LatencyModel
from autogate.latency.profile.plan import PlannedNetwork
from autogate.latency.timing import WARM_UP_S, interleave, prepare, random_input, stationary, timed
from autogate.policy import DENSE, Policy
from autogate.records import MIXED
from autogate.surgery import compact_form

_SECONDS = 3.0
_MIN_ROUNDS = 15


def drift_check(model: LatencyModel, *, seconds: float = _SECONDS) -> float:
    """Return the dense network's latency now over its predicted latency, from so many seconds of running it."""
    setting = model.profile.setting
    form = prepare(compact_form(model.network, DENSE, {}), setting)
    run = timed(form, random_input(model.network.input_shape, setting), setting)
    with exclusive_inference(setting):
        passes = interleave([run], seconds=seconds, warm_up_s=WARM_UP_S, min_rounds=_MIN_ROUNDS)
    kept = stationary(passes.ms, passes.groups).kept
    return float(np.median(passes.ms[kept])) / model.dense_ms


def drift_networks(model: LatencyModel, count: int) -> list[PlannedNetwork]:
    """Return up to ``count`` gated networks of the profile, to be run in turns with networks that are measured."""
    known = [sample for sample in model.profile.networks[1:] if sample.phase == MIXED]
    return [PlannedNetwork(Policy.from_json(one.policy), one.decisions, one.executors) for one in known[:count]]


def slowdown_of(model: LatencyModel, among: Sequence[PlannedNetwork], now_ms: np.ndarray) -> float:
    """Return by which factor canaries are slower now than predicted, as the median over them.

    Args:
        model: The latency model.
        among: The canaries.
        now_ms: What each takes now, in milliseconds, float64 ``[drift_networks]``.
    """
    sites, batch_size = model.network.sites, model.profile.setting.batch_size
    predicted_ms = [model.predict(one.policy, one.realisation(sites, batch_size)).p50 for one in among]
    return float(np.median(now_ms / np.array(predicted_ms)))
