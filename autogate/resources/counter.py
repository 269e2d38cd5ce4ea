"""The energy counter of a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml
import torch

from autogate.latency.hardware import handle_of


class EnergyCounter:
    """Reads the energy that a whole GPU has used since its driver was loaded.

    Args:
        gpu: The library's handle of the GPU.
        nvml: The management library.
    """

    def __init__(self, gpu: Any, nvml: Any = pynvml) -> None:
        self.gpu = gpu
        self.nvml = nvml

    def joules(self) -> float:
        """Return the reading in joules; it moves in steps, several times a second."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.gpu)) / 1000


@contextmanager
def energy_counter(device: torch.device) -> Iterator[EnergyCounter | None]:
    """Yield the counter of ``device``, or None where nothing counts its energy: on a CPU, and on old GPUs."""
    if not counts_energy(device):
        yield None
        return
    with handle_of(device) as gpu:
        yield EnergyCounter(gpu)


def counts_energy(device: torch.device) -> bool:
    """Whether the energy of ``device`` can be read."""
    if device.type != "cuda":
        return False
    try:
        with handle_of(device) as gpu:
            EnergyCounter(gpu).joules()
    except pynvml.NVMLError:
        return False
    return True
