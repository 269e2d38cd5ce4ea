"""AutoGate: search gates for CNNs under a latency budget that is measured on your device.

Names are resolved when they are first used, so that ``import autogate`` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autogate.api import (
        DatabaseUpgrade,
        DoctorReport,
        Explanation,
        ExportReport,
        History,
        LoggingReporter,
        Measurement,
        ParetoResult,
        Prediction,
        Predictions,
        ReachResult,
        ReplayResult,
        Reporter,
        Result,
        RuntimeMeasurements,
        SensitivityResult,
        SiteInfo,
        Study,
        StudyCopy,
        StudyDescription,
        StudyFile,
        StudyReport,
        StudySummary,
        VacuumResult,
        ValidationResult,
        apply_policy,
        compact_model,
        copy_study,
        delete_study,
        describe_study,
        doctor,
        dry_run,
        explain,
        export,
        export_study,
        find_sites,
        gate_loss,
        history,
        import_study,
        list_spaces,
        list_studies,
        load,
        load_study,
        measure,
        measure_runtimes,
        pareto,
        predict,
        predict_many,
        profile,
        replay,
        resume,
        run_worker,
        search,
        sensitivity,
        show_study,
        upgrade_studies,
        vacuum_studies,
        validate_profile,
    )
    from autogate.errors import AutoGateError, BudgetInfeasibleError
    from autogate.policy import Gate, Policy

_HOMES = {
    "AutoGateError": "autogate.errors",
    "BudgetInfeasibleError": "autogate.errors",
    "Gate": "autogate.policy",
    "Policy": "autogate.policy",
}

__all__ = [
    "AutoGateError",
    "BudgetInfeasibleError",
    "DatabaseUpgrade",
    "DoctorReport",
    "Explanation",
    "ExportReport",
    "Gate",
    "History",
    "LoggingReporter",
    "Measurement",
    "RuntimeMeasurements",
    "ParetoResult",
    "Policy",
    "Prediction",
    "Predictions",
    "ReachResult",
    "ReplayResult",
    "Reporter",
    "Result",
    "SensitivityResult",
    "SiteInfo",
    "Study",
    "StudyCopy",
    "StudyDescription",
    "StudyFile",
    "StudyReport",
    "StudySummary",
    "VacuumResult",
    "ValidationResult",
    "apply_policy",
    "compact_model",
    "copy_study",
    "delete_study",
    "describe_study",
    "doctor",
    "dry_run",
    "explain",
    "export",
    "export_study",
    "find_sites",
    "gate_loss",
    "history",
    "import_study",
    "list_spaces",
    "list_studies",
    "load",
    "load_study",
    "measure",
    "measure_runtimes",
    "pareto",
    "predict",
    "predict_many",
    "profile",
    "replay",
    "resume",
    "run_worker",
    "search",
    "sensitivity",
    "show_study",
    "upgrade_studies",
    "vacuum_studies",
    "validate_profile",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("autogate.system").VERSION
    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "autogate.api")), name)
    raise AttributeError(f"module 'autogate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
