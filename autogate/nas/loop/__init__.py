"""The driver side: one search from start to verdict."""

from autogate.nas.loop.candidate_measurement import learn_again
from autogate.nas.loop.driver import Driver, Limits
from autogate.nas.loop.prepare import lightest_policy, prepare_ground, study_latency
from autogate.nas.loop.study_start import refuse_other, start

__all__ = [
    "Driver",
    "Limits",
    "learn_again",
    "lightest_policy",
    "prepare_ground",
    "refuse_other",
    "start",
    "study_latency",
]
