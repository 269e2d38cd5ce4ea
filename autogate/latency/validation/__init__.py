"""Judge a latency model by gated networks it has never seen, beside simpler predictors."""

from autogate.latency.validation.held_out import HeldOut, measure_held_out, plan_held_out
from autogate.latency.validation.metrics import Scores, score
from autogate.latency.validation.recorded import few_networks, recorded_scores

__all__ = ["HeldOut", "Scores", "few_networks", "measure_held_out", "plan_held_out", "recorded_scores", "score"]
