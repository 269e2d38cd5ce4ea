"""Facts that travel between the parts of AutoGate, as plain data without torch."""

from autogate.records.latencies import Comparison, Estimate, ExecutionPlan, LatencyStat, Measurement
from autogate.records.places import KINDS, ConvSpec, Coupling, Preprocessing, Site, SiteKind
from autogate.records.profiles import DeviceCard, NetworkSample, Profile, Setting, UnitSample
from autogate.records.trials import Evaluation, EvaluationKey, FinalistRecord, FrontRecord, Realisation, TrialRecord

__all__ = [
    "KINDS",
    "Comparison",
    "ConvSpec",
    "Coupling",
    "DeviceCard",
    "Estimate",
    "Evaluation",
    "EvaluationKey",
    "ExecutionPlan",
    "FinalistRecord",
    "FrontRecord",
    "LatencyStat",
    "Measurement",
    "NetworkSample",
    "Preprocessing",
    "Profile",
    "Realisation",
    "Setting",
    "Site",
    "SiteKind",
    "TrialRecord",
    "UnitSample",
]
