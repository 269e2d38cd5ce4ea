"""What is wanted of a search: its settings, its goal, its objective, and the verdict on finalists; knows no torch."""

from autogate.goals.config import BUDGETS, FREE, PYTHON, TARGET, SearchConfig, make_config
from autogate.goals.goal import Budget, Budgets, EnergyBudget, Goal, GoalMode, LatencyBudget, MemoryBudget
from autogate.goals.objective import ACCURACY, MEMORY, PREDICTED, REALISED, Direction, Objective
from autogate.goals.option import GROUPS, Option, Setting, check_names, did_you_mean, settings_of, taken_by
from autogate.goals.procedure import SAMPLERS
from autogate.goals.settings import ProfileSettings, ResumeSettings, SearchSettings, SensitivitySettings
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
    "binds",
    "Budget",
    "BUDGETS",
    "Budgets",
    "check_names",
    "choose_best",
    "did_you_mean",
    "Direction",
    "energy_excess",
    "EnergyBudget",
    "FREE",
    "Goal",
    "GoalMode",
    "GROUPS",
    "judge",
    "latency_excess",
    "LatencyBudget",
    "make_config",
    "MEMORY",
    "MemoryBudget",
    "Objective",
    "Option",
    "PREDICTED",
    "ProfileSettings",
    "PYTHON",
    "REALISED",
    "ResumeSettings",
    "SAMPLERS",
    "SearchConfig",
    "SearchSettings",
    "SensitivitySettings",
    "Setting",
    "settings_of",
    "standard_error",
    "taken_by",
    "TARGET",
]
