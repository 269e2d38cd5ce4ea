"""Facts that travel between the parts of AutoGate, as plain data without torch."""

from autogate.records.jobs import MOST_ATTEMPTS, Job, WorkerRecord, slot_of
from autogate.records.latencies import Comparison, Estimate, ExecutionPlan, LatencyStat, Measurement
from autogate.records.profiles import (
    ALONE,
    MEASURED,
    MIXED,
    WARM,
    DeviceCard,
    NetworkSample,
    Operator,
    Profile,
    Setting,
    UnitForm,
    UnitSample,
)
from autogate.records.resources import EnergyComparison, PeakMemory
from autogate.records.sites import KINDS, ConvSpec, Coupling, Preprocessing, Site, SiteKind
from autogate.records.trials import Evaluation, EvaluationKey, FinalistRecord, FrontRecord, Realisation, TrialRecord

__all__ = [
    "ALONE",
    "Comparison",
    "ConvSpec",
    "Coupling",
    "DeviceCard",
    "EnergyComparison",
    "Estimate",
    "Evaluation",
    "EvaluationKey",
    "ExecutionPlan",
    "FinalistRecord",
    "FrontRecord",
    "Job",
    "KINDS",
    "LatencyStat",
    "MEASURED",
    "MIXED",
    "MOST_ATTEMPTS",
    "Measurement",
    "NetworkSample",
    "Operator",
    "PeakMemory",
    "Preprocessing",
    "Profile",
    "Realisation",
    "Setting",
    "Site",
    "SiteKind",
    "TrialRecord",
    "UnitForm",
    "UnitSample",
    "WARM",
    "WorkerRecord",
    "slot_of",
]
