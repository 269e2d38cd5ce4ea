"""What is wanted of a search: its settings, its goal, its objective, and the verdict on finalists; knows no torch."""

from autogate.goals.brought import config_names, is_brought, sampler_name
from autogate.goals.config import BUDGETS, FREE, TARGET, SearchConfig, make_config
from autogate.goals.goal import Budget, Budgets, EnergyBudget, Goal, GoalMode, LatencyBudget, MemoryBudget
from autogate.goals.objective import ACCURACY, MEMORY, PREDICTED, REALISED, Direction, Objective
from autogate.goals.option import GROUPS, Option, Setting, check_names, settings_of, taken_by
from autogate.goals.problem import AUTO, checked_size
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
    "AUTO",
    "ACCURACY",
    "binds",
    "Budget",
    "BUDGETS",
    "Budgets",
    "check_names",
    "checked_size",
    "choose_best",
    "Direction",
    "energy_excess",
    "EnergyBudget",
    "FREE",
    "Goal",
    "GoalMode",
    "GROUPS",
    "judge",
    "config_names",
    "is_brought",
    "sampler_name",
    "latency_excess",
    "LatencyBudget",
    "make_config",
    "MEMORY",
    "MemoryBudget",
    "Objective",
    "Option",
    "PREDICTED",
    "ProfileSettings",
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
