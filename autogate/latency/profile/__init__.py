"""Take, store, transfer and revalidate the profile of a network on a device."""

from autogate.latency.profile.channel_steps import channel_step
from autogate.latency.profile.dense import dense_times_ms, fastest_layout, layouts_of
from autogate.latency.profile.drift import drift_check, drift_networks, revalidate, slowdown_of
from autogate.latency.profile.instruments import REAL, Instruments
from autogate.latency.profile.plan import PlannedNetwork, random_network
from autogate.latency.profile.profile_file import (
    from_lines,
    profile_digest,
    read_profile,
    sample_rows,
    samples_of_rows,
    to_lines,
    write_profile,
)
from autogate.latency.profile.soundness import is_plausible, nonsense_reason, spoiled_reason
from autogate.latency.profile.take import begun_in, take_profile
from autogate.latency.profile.timed_networks import Samples, time_networks
from autogate.latency.profile.transfer import completed, transfer_profile

__all__ = [
    "Instruments",
    "PlannedNetwork",
    "REAL",
    "Samples",
    "begun_in",
    "channel_step",
    "completed",
    "dense_times_ms",
    "drift_check",
    "drift_networks",
    "fastest_layout",
    "layouts_of",
    "from_lines",
    "profile_digest",
    "is_plausible",
    "nonsense_reason",
    "random_network",
    "read_profile",
    "revalidate",
    "sample_rows",
    "samples_of_rows",
    "slowdown_of",
    "spoiled_reason",
    "take_profile",
    "time_networks",
    "to_lines",
    "transfer_profile",
    "write_profile",
]
