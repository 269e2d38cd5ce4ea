"""The outcome of a validation, as one document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from autogate.latency.model import LatencyModel
from autogate.latency.validation.held_out import HeldOut
from autogate.latency.validation.metrics import baselines, budget_violations, coverage, score

SCHEMA = "autogate.validate/1"


def validation_document(
    model: LatencyModel, held_out: HeldOut, seed: int, slowness_again: float | None = None
) -> dict[str, Any]:
    """Return the scores of the latency model and of the baselines; errors and shares are fractions.

    ``floor`` is the mean absolute error of the second measurement as a predictor of the first, against which all are
    scored; ``retest`` has its other scores, and the budgets that are exceeded if it decides what is delivered.
    ``floor_corrected`` and ``retest_corrected`` are the same for the second measurement brought to the speed that the
    device had in the first, by the networks running beside that tell the model that speed. They are None where these
    did not run beside both. ``relative`` has the scores of latencies over that of dense in the same measurement, which
    a machine whose speed drifts from minute to minute changes little.

    Args:
        model: The latency model, already as slow as the device is.
        held_out: What was measured; dense comes first.
        seed: Seed of the choice of networks.
        slowness_again: By which factor the device was slower in the second measurement than in the profile, as
            ``model.slowdown`` says it of the first; None if that is not known.
    """
    measured = held_out.first_ms
    sites, batch_size = model.network.sites, model.profile.setting.batch_size
    realisations = [planned.realisation(sites, batch_size) for planned in held_out.planned]
    estimates = [
        model.predict(planned.policy, realisation)
        for planned, realisation in zip(held_out.planned, realisations, strict=True)
    ]
    predicted = np.array([estimate.p50 for estimate in estimates])
    upper = np.array([estimate.upper("p50") for estimate in estimates])
    retest = _retest(held_out.second_ms, measured)
    corrected = None
    if slowness_again is not None:
        corrected = _retest(held_out.second_ms * model.slowdown / slowness_again, measured)
    covered, interval = coverage(upper, measured)
    over, far_over = budget_violations(upper, measured)
    return {
        "schema": SCHEMA,
        "model_name": model.profile.model,
        "setting": model.profile.setting.to_json(),
        "networks": len(measured),
        "seed": seed,
        "spread": float(measured.std() / measured.mean()),
        "canary": model.slowdown,
        "drift": float(np.median(measured / predicted) - 1),
        "canary_again": slowness_again,
        "floor": retest["mape"],
        "retest": retest,
        "floor_corrected": None if corrected is None else corrected["mape"],
        "retest_corrected": corrected,
        "model": {
            **asdict(score(predicted, measured)),
            "coverage": covered,
            "coverage_interval": list(interval),
            "violations": over,
            "violations_over_3_percent": far_over,
        },
        "relative": {
            "model": asdict(score(_over_dense(predicted), _over_dense(measured))),
            "retest": asdict(score(_over_dense(held_out.second_ms), _over_dense(measured))),
        },
        "baselines": {
            name: asdict(score(ms, measured)) for name, ms in baselines(model, held_out, realisations).items()
        },
        "points": [
            {
                "policy": planned.policy.to_json(),
                "decisions": dict(planned.decisions),
                "predicted_ms": estimate.p50,
                "upper_ms": estimate.upper("p50"),
                "measured_ms": float(first),
                "again_ms": float(second),
            }
            for planned, estimate, first, second in zip(
                held_out.planned, estimates, measured, held_out.second_ms, strict=True
            )
        ],
    }


def _retest(again_ms: np.ndarray, measured_ms: np.ndarray) -> dict[str, float]:
    over, far_over = budget_violations(again_ms, measured_ms)
    return {**asdict(score(again_ms, measured_ms)), "violations": over, "violations_over_3_percent": far_over}


def _over_dense(ms: np.ndarray) -> np.ndarray:
    ratios: np.ndarray = ms[1:] / ms[0]
    return ratios
