"""Profile devices, predict and measure latencies of gated networks."""

from autogate.latency.calibration import MIN_NETWORKS
from autogate.latency.comparing import compare
from autogate.latency.device import LAYOUTS, resolve_device, setting_of
from autogate.latency.many import ManyPredictor
from autogate.latency.model import LatencyModel
from autogate.latency.profile_file import from_lines, profile_digest, read_profile, to_lines, write_profile
from autogate.latency.profiling import begun_in, fastest_layout, take_profile
from autogate.latency.steadiness import too_noisy
from autogate.latency.transfer import transfer_profile

__all__ = [
    "LAYOUTS",
    "MIN_NETWORKS",
    "LatencyModel",
    "ManyPredictor",
    "begun_in",
    "compare",
    "fastest_layout",
    "from_lines",
    "profile_digest",
    "read_profile",
    "resolve_device",
    "setting_of",
    "take_profile",
    "to_lines",
    "too_noisy",
    "transfer_profile",
    "write_profile",
]
