"""What compact networks need apart from time: peak memory, and energy where the device counts it."""

from autogate.resources.benchmark import (
    FIXED_INPUTS,
    VARYING_INPUTS,
    FinalistBenchmark,
    energy_beside_dense,
    is_disturbed,
    policy_varies,
)
from autogate.resources.costs import dense_macs, paper_macs, parameter_count, predicted_statistics, realisable_macs
from autogate.resources.energy import EnergyCounter, compare_energy, counts_energy, energy_counter
from autogate.resources.memory import peak_memory_bytes

__all__ = [
    "EnergyCounter",
    "FIXED_INPUTS",
    "FinalistBenchmark",
    "VARYING_INPUTS",
    "compare_energy",
    "counts_energy",
    "dense_macs",
    "energy_beside_dense",
    "energy_counter",
    "is_disturbed",
    "paper_macs",
    "parameter_count",
    "peak_memory_bytes",
    "policy_varies",
    "predicted_statistics",
    "realisable_macs",
]
