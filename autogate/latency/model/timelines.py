"""Compose the times of units on two timelines: the host that hands out the work, and the device that does it."""

from __future__ import annotations

import numpy as np


class Timelines:
    """Where host and device are after the units so far, for many policies at once.

    A GPU runs behind the host: it starts a unit when the one before is done and the host has begun to hand this one
    out, and it is not done before the host is. Where a gate decides on data, the host waits for the device, and the
    unit's own times hold what the host then needs to react. On a CPU they are one: the host's times are 0, and unit
    times add up.

    Args:
        policies: How many.
        synchronous: Whether host and device are one.

    Attributes:
        host_ms: When the host is done, float64 ``[policies]``.
        device_ms: When the device is done, likewise.
        busy_ms: How long the device has worked, likewise.
    """

    def __init__(self, policies: int, synchronous: bool = False) -> None:
        self.host_ms = np.zeros(policies)
        self.device_ms = np.zeros(policies)
        self.busy_ms = np.zeros(policies)
        self._are_one = synchronous

    def run(
        self, device_ms: np.ndarray | float, host_ms: np.ndarray | float = 0.0, waits: np.ndarray | bool = False
    ) -> None:
        """Run one unit.

        Args:
            device_ms: What it takes on the device, ``[policies]``.
            host_ms: What it takes the host to hand it out, likewise.
            waits: Whether the host needs the device's results first, likewise.
        """
        self.busy_ms = self.busy_ms + device_ms
        if self._are_one:
            self.device_ms = self.host_ms = self.busy_ms
            return
        begun = np.where(waits, np.maximum(self.host_ms, self.device_ms), self.host_ms)
        self.host_ms = begun + host_ms
        self.device_ms = np.maximum(np.maximum(self.device_ms, begun) + device_ms, self.host_ms)

    @property
    def launch_bound(self) -> np.ndarray:
        """Whether the device waits for the host for more than half of the time, bool ``[policies]``."""
        waiting: np.ndarray = self.device_ms > 2 * self.busy_ms
        return waiting
