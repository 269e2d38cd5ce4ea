"""Train dense networks, shared weights, candidates and finalists; recalibrate and score them."""

from autogate.training.loop import (
    Progress,
    TrainingCallback,
    gate_loss,
    gates_of,
    loss_of,
    optimiser_for,
    score,
    set_training_progress,
    train,
)
from autogate.training.methods import Fidelity, Part, ScoreFunction, TrainFunction, TrainingBackend
from autogate.training.recalibration import recalibrate
from autogate.training.recipe import Recipe, base_recipe, full_recipe, shared_recipe, short_recipe
from autogate.training.scores import class_scores, score_tensor
from autogate.training.shared import SharedGates, clone, make_bank, train_shared
from autogate.training.state import Checkpointer
from autogate.training.step_time import bfloat16_time_ratio
from autogate.training.threads import TrainingThreads

__all__ = [
    "Checkpointer",
    "Fidelity",
    "Part",
    "Progress",
    "Recipe",
    "ScoreFunction",
    "SharedGates",
    "TrainFunction",
    "TrainingBackend",
    "TrainingCallback",
    "TrainingThreads",
    "base_recipe",
    "bfloat16_time_ratio",
    "class_scores",
    "clone",
    "full_recipe",
    "gate_loss",
    "gates_of",
    "loss_of",
    "make_bank",
    "optimiser_for",
    "recalibrate",
    "score",
    "score_tensor",
    "set_training_progress",
    "shared_recipe",
    "short_recipe",
    "train",
    "train_shared",
]
