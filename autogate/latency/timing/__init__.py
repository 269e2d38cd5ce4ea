"""Time networks: single passes, interleaved rounds, comparisons with dense."""

from autogate.latency.timing.card import take_card
from autogate.latency.timing.comparison import compare, compare_runs
from autogate.latency.timing.disturbance import TOO_NOISY, quiet_passes
from autogate.latency.timing.drift_filter import (
    median_interval,
    median_iqr,
    noise_reason,
    spread,
    stationary,
)
from autogate.latency.timing.interleaving import GROUP, Round, interleave, numbered
from autogate.latency.timing.timing import (
    WARM_UP_S,
    Clock,
    MarkedNetwork,
    Pass,
    prepare,
    prepare_input,
    random_input,
    timed,
)

__all__ = [
    "Clock",
    "GROUP",
    "MarkedNetwork",
    "Pass",
    "Round",
    "TOO_NOISY",
    "WARM_UP_S",
    "compare",
    "compare_runs",
    "interleave",
    "median_interval",
    "median_iqr",
    "noise_reason",
    "numbered",
    "prepare",
    "prepare_input",
    "quiet_passes",
    "random_input",
    "spread",
    "stationary",
    "take_card",
    "timed",
]
