"""How good predictions of latency are: of whole networks, of single units, and of simpler predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from autogate.latency.model import REMOVED, LatencyModel, keys_of, roofline
from autogate.latency.profile import PlannedNetwork
from autogate.latency.validation.held_out import HeldOut
from autogate.policy import Policy
from autogate.records import WARM, Realisation, UnitSample

Latencies = np.ndarray
"""Latencies in milliseconds, float64 ``[networks]``."""
_BUDGETS = 200


@dataclass(frozen=True)
class Scores:
    """Errors relative to the measured latency, and agreement of the order.

    Attributes:
        mape: Mean absolute relative error.
        p95_ape: 95th percentile of it.
        bias: Mean relative error; positive if predictions are too high.
        within_5: Share of networks predicted within 5 %.
        within_10: Share of networks predicted within 10 %.
        spearman: Rank correlation.
        kendall: Kendall's tau-b.
        skill: One less the ratio of the mean absolute error to that of the best constant in hindsight; 0 where all
            networks are equally fast.
    """

    mape: float
    p95_ape: float
    bias: float
    within_5: float
    within_10: float
    spearman: float
    kendall: float
    skill: float


def score(predicted_ms: Latencies, measured_ms: Latencies) -> Scores:
    """Score predictions, ``[networks]`` each; networks must differ in measured latency."""
    relative = predicted_ms / measured_ms - 1
    wrong = np.abs(relative)
    of_constant = np.abs(best_constant(measured_ms) / measured_ms - 1).mean()
    ordered = bool(np.ptp(predicted_ms) > 0)
    return Scores(
        mape=float(wrong.mean()),
        p95_ape=float(np.percentile(wrong, 95)),
        bias=float(relative.mean()),
        within_5=float((wrong <= 0.05).mean()),
        within_10=float((wrong <= 0.10).mean()),
        # A constant orders nothing.
        spearman=float(stats.spearmanr(predicted_ms, measured_ms).statistic) if ordered else 0.0,
        kendall=float(stats.kendalltau(predicted_ms, measured_ms).statistic) if ordered else 0.0,
        skill=float(1 - wrong.mean() / of_constant) if of_constant > 0 else 0.0,
    )


def best_constant(measured_ms: Latencies) -> float:
    """Return the constant with the least mean absolute relative error: the median weighted by 1 / latency."""
    order = np.argsort(measured_ms)
    weights = np.cumsum(1 / measured_ms[order])
    return float(measured_ms[order][np.searchsorted(weights, weights[-1] / 2)])


def coverage(upper_ms: Latencies, measured_ms: Latencies) -> tuple[float, tuple[float, float]]:
    """Return the share of networks no slower than their upper bound, with its 95 % binomial interval."""
    covered = int((measured_ms <= upper_ms).sum())
    interval = stats.binomtest(covered, len(measured_ms)).proportion_ci(0.95)
    return covered / len(measured_ms), (float(interval.low), float(interval.high))


def budget_violations(upper_ms: Latencies, measured_ms: Latencies) -> tuple[float, float]:
    """Return the shares of budgets that are exceeded at all, and by more than 3 %, by what would be delivered.

    Budgets lie evenly between the smallest and the largest bound. For each, the slowest network whose upper bound
    meets it is delivered, as by a search that spends its whole budget on accuracy.
    """
    budgets = np.linspace(upper_ms.min(), upper_ms.max(), _BUDGETS)
    order = np.argsort(upper_ms)
    chosen = order[np.searchsorted(upper_ms[order], budgets, side="right") - 1]
    over = measured_ms[chosen] / budgets - 1
    return float((over > 0).mean()), float((over > 0.03).mean())


def unit_errors(
    model: LatencyModel, planned: Sequence[PlannedNetwork], first: Sequence[UnitSample], second: Sequence[UnitSample]
) -> dict[str, Any]:
    """Return mean absolute relative errors of units, by what they are, as fractions; None where there are none.

    All are over the drift of dense units, by which the device was slower or faster than in the profile. ``seen`` and
    ``never seen``: forms with gates that the profile has and has not measured; ``with gates``: both. Under ``retest``
    are the errors of the second measurement as a predictor of the first.

    Args:
        model: The latency model.
        planned: The networks.
        first: Times of all their units, network after network.
        second: A second measurement of the same.
    """
    known = {sample.key for sample in model.profile.units}
    predicted_ms = [
        model.form_time(unit, plan.policy, plan.decisions).device_ms
        for plan in planned
        for unit, key in zip(
            model.units, keys_of(model.units, plan.policy, plan.decisions, plan.executors), strict=True
        )
        if key != REMOVED
    ]
    ratios: dict[str, list[tuple[float, float]]] = {"dense": [], "seen": [], "never seen": []}
    for ms, sample, again in zip(predicted_ms, first, second, strict=True):
        if sample.ms > 0:
            kind = "dense" if "|" not in sample.key else "seen" if sample.key in known else "never seen"
            ratios[kind].append((ms / sample.ms, again.ms / sample.ms))
    ratios["with gates"] = ratios["seen"] + ratios["never seen"]
    drifts = np.median(ratios["dense"], axis=0)
    ours, retest = (
        {kind: _mape(np.array(both).reshape(-1, 2)[:, i], drifts[i]) for kind, both in ratios.items()} for i in (0, 1)
    )
    counts = {kind: len(both) for kind, both in ratios.items()}
    return {"drift": float(drifts[0]) - 1, **ours, "retest": retest, "units": counts}


def _mape(ratios: np.ndarray, drift: float) -> float | None:
    return float(np.abs(ratios / drift - 1).mean()) if len(ratios) else None


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
