"""How good predictions are of single units with gates in them, in networks no profile has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autogate.latency.model import REMOVED, LatencyModel, keys_of
from autogate.latency.profile import PlannedNetwork
from autogate.records import UnitSample


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
