"""Compose the times of units on two timelines: the host that hands out the work, and the device that does it."""

from __future__ import annotations

import numpy as np

from autogate.latency.model.layouts import NO_ENTRY, Entry


class Timelines:
    """Where host and device are after the units so far, for many policies at once.

    A GPU runs behind the host: it starts a unit when the previous one is done and the host has begun to launch this
    one, and it is not done before the host is. Where a gate decides on data, the host first synchronises with the
    device; the unit's times then include what the host needs to react. On a CPU both are one timeline: host times are
    0, and unit times add up.

    Args:
        policies: Number of policies.
        synchronous: Whether host and device are one timeline, as on a CPU.

    Attributes:
        host_ms: Time at which the host is done, in milliseconds, float64 ``[policies]``.
        device_ms: Time at which the device is done, in milliseconds, float64 ``[policies]``.
        busy_ms: Time the device has worked, in milliseconds, float64 ``[policies]``.
        is_plain: Whether the data is in the plain memory layout, not in the runtime's own, bool ``[policies]``.
    """

    def __init__(self, policies: int, synchronous: bool = False) -> None:
        self.host_ms = np.zeros(policies)
        self.device_ms = np.zeros(policies)
        self.busy_ms = np.zeros(policies)
        self.is_plain = np.zeros(policies, dtype=bool)
        self._synchronous = synchronous

    def run(
        self,
        device_ms: np.ndarray | float,
        host_ms: np.ndarray | float = 0.0,
        syncs: np.ndarray | bool = False,
        entry: Entry = NO_ENTRY,
    ) -> None:
        """Run one unit.

        Args:
            device_ms: Its time on the device, in milliseconds, ``[policies]``.
            host_ms: Time the host takes to launch it, in milliseconds, ``[policies]``.
            syncs: Whether the host needs the device's results first, bool ``[policies]``.
            entry: What comes before it, by the layout of the data.
        """
        if entry is not NO_ENTRY:
            device_ms = device_ms + np.where(self.is_plain, entry.from_plain_ms, entry.from_own_ms)
            self.is_plain = np.where(np.equal(entry.leaves, -1), self.is_plain, np.equal(entry.leaves, 1))
        self.busy_ms = self.busy_ms + device_ms
        if self._synchronous:
            self.device_ms = self.host_ms = self.busy_ms
            return
        begun = np.where(syncs, np.maximum(self.host_ms, self.device_ms), self.host_ms)
        self.host_ms = begun + host_ms
        self.device_ms = np.maximum(np.maximum(self.device_ms, begun) + device_ms, self.host_ms)

    @property
    def launch_bound(self) -> np.ndarray:
        """Whether the device waits for the host for more than half of the time, bool ``[policies]``."""
        waiting: np.ndarray = self.device_ms > 2 * self.busy_ms
        return waiting
