"""Judge a latency model by gated networks it has never seen, beside simpler predictors."""

from autogate.latency.validation.held_out import HeldOut, measure_held_out, plan_held_out
from autogate.latency.validation.metrics import Scores, score

__all__ = ["HeldOut", "Scores", "measure_held_out", "plan_held_out", "score"]
