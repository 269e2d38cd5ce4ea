"""The driver side: one search from start to verdict."""

from autogate.nas.loop.candidate_measurement import learn_again
from autogate.nas.loop.driver import Driver, Limits
from autogate.nas.loop.prepare import fastest_policy, prepare_ground, study_latency
from autogate.nas.loop.study_start import check_same_config, start

__all__ = [
    "Driver",
    "Limits",
    "check_same_config",
    "fastest_policy",
    "learn_again",
    "prepare_ground",
    "start",
    "study_latency",
]
