"""The device at hand: what it is, what state it is in, and who else uses it."""

from autogate.latency.hardware.device import (
    DTYPES,
    LAYOUTS,
    check_runtime,
    device_name,
    resolve_device,
    setting_of,
    usable_cores,
)
from autogate.latency.hardware.exclusive import as_in_use, inference
from autogate.latency.hardware.host_load import HostLoad
from autogate.latency.hardware.machine import device_state, machine_facts
from autogate.latency.hardware.noise_sources import disturbers_of
from autogate.latency.hardware.nvml import clocks_locked, handle_of, throttle_watch

__all__ = [
    "DTYPES",
    "HostLoad",
    "LAYOUTS",
    "as_in_use",
    "check_runtime",
    "clocks_locked",
    "device_name",
    "device_state",
    "disturbers_of",
    "handle_of",
    "inference",
    "machine_facts",
    "resolve_device",
    "setting_of",
    "throttle_watch",
    "usable_cores",
]
