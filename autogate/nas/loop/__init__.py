"""The driver side: one search from start to verdict."""

from autogate.nas.loop.context import SearchContext, fastest_policy, prepare_search, study_latency
from autogate.nas.loop.driver import Driver, Limits
from autogate.nas.loop.search import make_driver
from autogate.nas.loop.study_start import check_same_config, start

__all__ = [
    "Driver",
    "Limits",
    "SearchContext",
    "check_same_config",
    "fastest_policy",
    "make_driver",
    "prepare_search",
    "start",
    "study_latency",
]
