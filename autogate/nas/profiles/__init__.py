"""The latency profile that a search works with: named, stored, or taken now."""

from autogate.nas.profiles.alignment import at_step_of, at_step_there, settled_space
from autogate.nas.profiles.choosing import profile_for
from autogate.nas.profiles.profiles import (
    check_resources,
    check_setting,
    find_profile,
    keep_profile,
    known_profile,
    may_be_stale,
    named_profile,
    own_profile,
    profile_called,
    searched_space,
    setting_here,
)
from autogate.nas.profiles.runtime_choice import settled_runtime
from autogate.nas.profiles.taking import QUICK_PROFILE_S, profile_network, transfer_to_here

__all__ = [
    "QUICK_PROFILE_S",
    "at_step_of",
    "at_step_there",
    "check_resources",
    "check_setting",
    "find_profile",
    "keep_profile",
    "known_profile",
    "may_be_stale",
    "named_profile",
    "own_profile",
    "profile_called",
    "profile_for",
    "profile_network",
    "searched_space",
    "setting_here",
    "settled_runtime",
    "settled_space",
    "transfer_to_here",
]
