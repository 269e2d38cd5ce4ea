"""What is wanted of a search: its configuration, its objective, and the verdict on finalists; knows no torch."""

from autogate.goals.config import BUDGETS, FREE, TARGET, SearchConfig, make_config
from autogate.goals.defaults import FINALISTS, SAMPLERS, TRIALS
from autogate.goals.objective import ACCURACY, MEMORY, PREDICTED, REALISED, Direction, Objective
from autogate.goals.verdict import (
    binds,
    choose_best,
    energy_excess,
    judge,
    latency_excess,
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
    "REALISED",
    "SAMPLERS",
    "SearchConfig",
    "TARGET",
    "TRIALS",
    "binds",
    "choose_best",
    "energy_excess",
    "judge",
    "latency_excess",
    "make_config",
    "standard_error",
]
