"""How good a candidate is: trained and scored, or answered from records."""

from autogate.nas.evaluating.caller_inputs import Own, names_of
from autogate.nas.evaluating.checkpointer import StoreKeeper
from autogate.nas.evaluating.evaluator import Judge
from autogate.nas.evaluating.peak_memory import CandidateMemory, smallest_choices
from autogate.nas.evaluating.predictions import rescore
from autogate.nas.evaluating.replay_evaluator import replay_of
from autogate.nas.evaluating.shared_weights import evaluator_of, has_weights_in, train_shared_weights
from autogate.nas.evaluating.task import (
    OwnData,
    Task,
    fit_base,
    load_model_and_data,
    load_task,
    network_for,
    train_base,
)
from autogate.nas.evaluating.training_evaluator import Evaluator, Trained
from autogate.nas.evaluating.weights import pack, unpack

__all__ = [
    "CandidateMemory",
    "Evaluator",
    "Judge",
    "Own",
    "OwnData",
    "StoreKeeper",
    "Task",
    "Trained",
    "evaluator_of",
    "fit_base",
    "has_weights_in",
    "load_model_and_data",
    "load_task",
    "names_of",
    "network_for",
    "pack",
    "replay_of",
    "rescore",
    "smallest_choices",
    "train_base",
    "train_shared_weights",
    "unpack",
]
