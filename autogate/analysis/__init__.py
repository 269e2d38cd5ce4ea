"""What a profile or a study says without searching: predictions, explanations, validation, sensitivity, replays."""

from autogate.analysis.predictions import (
    explanation_document,
    many_document,
    prediction_document,
    reach_document,
    reranked_document,
)
from autogate.analysis.replay import add_replay, replay_driver, run_replay
from autogate.analysis.sensitivity import sensitivity_document
from autogate.analysis.validation import validate_profile

__all__ = [
    "add_replay",
    "explanation_document",
    "many_document",
    "prediction_document",
    "reach_document",
    "replay_driver",
    "reranked_document",
    "run_replay",
    "sensitivity_document",
    "validate_profile",
]
