"""What a profile is measured with: a clock, and how networks are timed; a simulated device brings others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from autogate.device_lock import measuring_clock
from autogate.latency.hardware import Patience, exclusive_inference, throttle_watch
from autogate.latency.profile.timed_networks import TimedNetwork
from autogate.latency.timing import take_card, timed
from autogate.records import DeviceCard, Setting


@dataclass(frozen=True)
class Instruments:
    """The parts of the real device that a profile depends on.

    Attributes:
        clock: Returns a monotonic time in seconds that leaves out how long measurements waited for the device.
        exclusive: Enters a setting on a device that nobody else uses meanwhile.
        throttle_watch: Watches a device, and tells whether it was throttled.
        take_card: Measures the limits of a device, for about ``seconds``.
        timed: Makes a function that runs a network once and returns the milliseconds.
        patience: Returns what waits for a quiet host, for so many seconds in all.
        timed_network: Builds a planned network whose whole and units are timed.
    """

    clock: Callable[[], float] = measuring_clock
    exclusive: Callable[[Setting], AbstractContextManager[None]] = exclusive_inference
    throttle_watch: Callable[[torch.device], AbstractContextManager[Any]] = throttle_watch
    take_card: Callable[..., DeviceCard] = take_card
    timed: Callable[..., Callable[[], float]] = timed
    patience: Callable[[float], Patience] = Patience
    timed_network: Callable[..., TimedNetwork] = TimedNetwork


REAL = Instruments()
