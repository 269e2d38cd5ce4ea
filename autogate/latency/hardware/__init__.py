"""The device at hand: what it is, what state it is in, and who else uses it."""

from autogate.latency.hardware.device import (
    DTYPES,
    LAYOUTS,
    device_name,
    exclusive_inference,
    inference_setting,
    resolve_device,
    setting_of,
)
from autogate.latency.hardware.gpu import clocks_locked, handle_of, throttle_watch
from autogate.latency.hardware.machine import device_state, machine_facts
from autogate.latency.hardware.noise import noise_sources, noise_sources_of
from autogate.latency.hardware.quiet import Patience, steadily_busy_cores

__all__ = [
    "DTYPES",
    "LAYOUTS",
    "Patience",
    "clocks_locked",
    "device_name",
    "device_state",
    "exclusive_inference",
    "handle_of",
    "inference_setting",
    "machine_facts",
    "noise_sources",
    "noise_sources_of",
    "resolve_device",
    "setting_of",
    "steadily_busy_cores",
    "throttle_watch",
]
