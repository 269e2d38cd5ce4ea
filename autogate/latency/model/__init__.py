"""Predict the latency of a gated network from a profile: its units, their forms, and how they compose."""

from autogate.latency.model.calibration import MIN_NETWORKS, upper_residual
from autogate.latency.model.decisions import timed_decisions
from autogate.latency.model.explain import explain_gates, explain_units
from autogate.latency.model.forms import SAVES_NOTHING
from autogate.latency.model.kernels import FastestKernels
from autogate.latency.model.latency_model import VERSION, LatencyModel
from autogate.latency.model.layouts import entries
from autogate.latency.model.many import ManyPredictor
from autogate.latency.model.operators import operators_by_unit, record_operators, roofline
from autogate.latency.model.units import REMOVED, Unit, check_profile_matches, cut_into_units, keys_of

__all__ = [
    "FastestKernels",
    "LatencyModel",
    "MIN_NETWORKS",
    "ManyPredictor",
    "REMOVED",
    "SAVES_NOTHING",
    "Unit",
    "VERSION",
    "check_profile_matches",
    "cut_into_units",
    "entries",
    "explain_gates",
    "explain_units",
    "keys_of",
    "operators_by_unit",
    "record_operators",
    "roofline",
    "timed_decisions",
    "upper_residual",
]
