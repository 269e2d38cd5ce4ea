"""Trials and finalists made by hand."""

from __future__ import annotations

from autogate.policy import Gate, Policy
from autogate.records import (
    Comparison,
    FinalistRecord,
    Measurement,
    Realisation,
    Setting,
    TrialRecord,
)

SETTING = Setting("cpu", "a cpu", 1, "float32", "contiguous", 2, "eager", {"torch": "2.15"})


def measurement(ms: float, half: float = 0.0) -> Measurement:
    return Measurement(ms, ms, ms, ms, (ms - half, ms + half), 8, 30)


def comparison(ratio: float, half: float = 0.01, dense_ms: float = 10.0) -> Comparison:
    gated = measurement(ratio * dense_ms, half * dense_ms)
    return Comparison(measurement(dense_ms), gated, ratio, (ratio - half, ratio + half), SETTING)


def finalist(number: int, accuracy: float, ratio: float, half: float = 0.01) -> FinalistRecord:
    policy = Policy({f"block:{number}": Gate("drop")})
    predicted = {"mean": 1.0, "p50": 1.0, "p95": 1.0, "max": 1.0, "upper": 1.1, "dense": 2.0}
    return FinalistRecord(
        policy,
        "profile",
        number,
        accuracy,
        accuracy,
        {},
        predicted,
        comparison(ratio, half),
        Realisation(),
        "sha",
    )


def trial(number: int, accuracy: float | None, ms: float, outcome: str = "complete") -> TrialRecord:
    policy = Policy({f"block:{number}": Gate("drop")})
    predicted = {"mean": ms, "p50": ms, "p95": ms, "max": ms, "upper": 1.1 * ms}
    return TrialRecord(number, outcome, policy, accuracy, predicted, None, None, 1.0)
