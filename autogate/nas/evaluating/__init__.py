"""How good a candidate is: trained and scored, or answered from records."""

from autogate.nas.evaluating.caller_inputs import CallerInputs
from autogate.nas.evaluating.checkpointer import StoreCheckpointer
from autogate.nas.evaluating.deployment import Deployment
from autogate.nas.evaluating.evaluator import Evaluator
from autogate.nas.evaluating.given_weights import about_given_weights
from autogate.nas.evaluating.peak_memory import CandidateMemory, smallest_choices
from autogate.nas.evaluating.predictions import rescore_trials
from autogate.nas.evaluating.replay_evaluator import replay_of
from autogate.nas.evaluating.shared_weights import has_weights_in, make_evaluator, train_shared_weights
from autogate.nas.evaluating.task import (
    OwnData,
    Task,
    fit_base,
    load_model_and_data,
    load_task,
    traced_network,
    train_base,
)
from autogate.nas.evaluating.train_dtype import choose_train_dtype, settle_train_dtype
from autogate.nas.evaluating.training_evaluator import Trained, TrainingEvaluator

__all__ = [
    "CallerInputs",
    "CandidateMemory",
    "Deployment",
    "Evaluator",
    "OwnData",
    "StoreCheckpointer",
    "Task",
    "Trained",
    "TrainingEvaluator",
    "about_given_weights",
    "choose_train_dtype",
    "fit_base",
    "has_weights_in",
    "load_model_and_data",
    "load_task",
    "make_evaluator",
    "replay_of",
    "rescore_trials",
    "settle_train_dtype",
    "smallest_choices",
    "traced_network",
    "train_base",
    "train_shared_weights",
]
