"""What compact networks take besides time: peak memory, and energy where the device counts it."""

from autogate.resources.counter import EnergyCounter, counts_energy, energy_counter
from autogate.resources.energy import compare_energy
from autogate.resources.memory import peak_memory_bytes

__all__ = ["EnergyCounter", "compare_energy", "counts_energy", "energy_counter", "peak_memory_bytes"]
