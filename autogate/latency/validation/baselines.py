"""Simpler predictors, given the same measurements: what the latency model has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autogate.latency.model import LatencyModel, roofline
from autogate.latency.validation.held_out import HeldOut
from autogate.latency.validation.metrics import best_constant
from autogate.policy import Policy
from autogate.records import WARM, Realisation


def baselines(model: LatencyModel, held_out: HeldOut, realisations: Sequence[Realisation]) -> Mapping[str, np.ndarray]:
    """Return the predictions of each baseline, in milliseconds, float64 ``[networks]`` each.

    ``constant`` is the best one in hindsight. ``macs_affine`` is fitted to the profile's whole networks;
    ``macs_interpolation`` goes through the lightest, the middle and the heaviest of them; ``lookup_table`` sums what
    each gate saves alone; ``roofline`` knows only the device card.
    """
    profile = model.profile
    measured = held_out.first_ms
    macs = np.array([sum(op.macs for op in ops) / profile.setting.batch_size for ops in held_out.operators])
    known = [sample for sample in profile.networks if sample.phase != WARM]
    known_macs = np.array([sample.macs for sample in known], dtype=np.float64)
    known_ms = model.slowdown * np.array([sample.ms for sample in known])
    alone = [
        _gate_by_gate(model, planned.policy, realisation)
        for planned, realisation in zip(held_out.planned, realisations, strict=True)
    ]
    return {
        "constant": np.full(len(measured), best_constant(measured)),
        "macs_affine": np.polyval(np.polyfit(known_macs, known_ms, 1, w=1 / known_ms), macs),
        "macs_interpolation": _interpolated(known_macs, known_ms, macs),
        "lookup_table": np.array(alone),
        "roofline": np.array([roofline(ops, profile.card, profile.setting).total_ms for ops in held_out.operators]),
    }


def _interpolated(known_macs: np.ndarray, known_ms: np.ndarray, macs: np.ndarray) -> np.ndarray:
    order = np.argsort(known_macs)
    anchors = order[[0, len(order) // 2, -1]]
    return np.asarray(np.interp(macs, known_macs[anchors], known_ms[anchors]))


def _gate_by_gate(model: LatencyModel, policy: Policy, realisation: Realisation) -> float:
    saved = (model.dense_ms - model.predict(Policy({site: gate}), realisation).p50 for site, gate in policy)
    return model.dense_ms - sum(saved)
