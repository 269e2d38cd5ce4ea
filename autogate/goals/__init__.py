"""What is wanted of a search: its configuration, its objective, and the verdict on finalists; knows no torch."""

from autogate.goals.config import BUDGETS, FREE, TARGET, SearchConfig, make_config
from autogate.goals.defaults import FINALISTS, PYTHON, SAMPLERS, TRIALS
from autogate.goals.objective import ACCURACY, MEMORY, PREDICTED, REALISED, Direction, Objective
from autogate.goals.verdict import (
    accepted,
    binds,
    choose_best,
    energy_excess,
    latency_excess,
    pareto_front,
    standard_error,
)

__all__ = [
    "ACCURACY",
    "BUDGETS",
    "Direction",
    "FINALISTS",
    "FREE",
    "MEMORY",
    "Objective",
    "PREDICTED",
    "PYTHON",
    "REALISED",
    "SAMPLERS",
    "SearchConfig",
    "TARGET",
    "TRIALS",
    "accepted",
    "binds",
    "choose_best",
    "energy_excess",
    "latency_excess",
    "make_config",
    "pareto_front",
    "standard_error",
]
