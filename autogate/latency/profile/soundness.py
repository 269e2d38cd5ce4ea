"""Whether a profile says something of the device, or of what else ran on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from autogate.latency.hardware import device_state, noise_sources
from autogate.latency.model import LatencyModel
from autogate.latency.timing import noise_reason

# Units add up to whole networks within a few per cent; what is this far off was disturbed.
MOST_ERROR = 0.5
# A device that runs dense so much slower or faster than its profile says was disturbed now, or then.
MOST_DRIFT = 1.5


def nonsense_reason(latency: LatencyModel) -> str | None:
    """Return why predictions from a profile make no sense, as only noise can be the cause; None if they do."""
    if latency.dense_ms <= 0:
        return "the times of its parts do not add up to those of whole networks"
    if latency.largest_error > MOST_ERROR:
        return f"networks may take {min(latency.largest_error, 99.0):.0%} more than the profile predicts"
    return None


def spoiled_reason(
    latency: LatencyModel, *, state_of: Callable[[torch.device], Mapping[str, Any]] = device_state
) -> str | None:
    """Return how noise shows in a profile that was just taken, and where it may come from; None if it does not.

    Args:
        latency: Predicts from the profile.
        state_of: Returns the current state of a device.
    """
    if (what := nonsense_reason(latency)) is not None:
        return f"{what} ({noise_sources(latency.profile, state_of=state_of)})"
    return noise_reason(latency.profile, state_of=state_of)


def is_plausible(slowdown: float) -> bool:
    """Whether a device that is this much slower than when it was profiled may be the same undisturbed device."""
    return 1 / MOST_DRIFT < slowdown < MOST_DRIFT
