"""Judge a latency model by gated networks it has never seen, and compare it with simpler predictors."""

from autogate.latency.validation.document import validation_document
from autogate.latency.validation.held_out import HeldOut, measure_held_out, plan_held_out
from autogate.latency.validation.metrics import Scores, coverage, score, unit_errors
from autogate.latency.validation.recorded import Recorded, few_networks, recorded, recorded_unit_errors

__all__ = [
    "HeldOut",
    "Recorded",
    "Scores",
    "coverage",
    "few_networks",
    "measure_held_out",
    "plan_held_out",
    "recorded",
    "recorded_unit_errors",
    "score",
    "unit_errors",
    "validation_document",
]
