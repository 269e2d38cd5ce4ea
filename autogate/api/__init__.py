"""One function per command; the command line calls these and nothing else.

Everything heavy is imported where it is used, so that reading a study loads no torch.
"""

from autogate.api.devices import (
    doctor,
    explain,
    measure,
    measure_runtimes,
    predict,
    predict_many,
    profile,
    validate_profile,
)
from autogate.api.exports import load
from autogate.api.gated_networks import apply_policy, compact_model, gate_loss
from autogate.api.line_progress import LoggingReporter
from autogate.api.manage import (
    copy_study,
    delete_study,
    describe_study,
    export_study,
    history,
    import_study,
    upgrade_studies,
    vacuum_studies,
)
from autogate.api.networks import find_sites, sensitivity
from autogate.api.progress import resume_command, terminal_reporter
from autogate.api.replays import replay
from autogate.api.results import (
    DoctorReport,
    Explanation,
    Measurement,
    Prediction,
    Predictions,
    Result,
    RuntimeMeasurements,
    SensitivityResult,
    SiteInfo,
    ValidationResult,
)
from autogate.api.study import Study
from autogate.api.study_results import (
    DatabaseUpgrade,
    ExportReport,
    History,
    ParetoResult,
    ReachResult,
    ReplayResult,
    StudyCopy,
    StudyDescription,
    StudyFile,
    StudyReport,
    StudySummary,
    VacuumResult,
)
from autogate.api.study_runs import dry_run, export, list_studies, load_study, pareto, resume, search, show_study
from autogate.api.workers import run_worker
from autogate.space import list_spaces
from autogate.studies import Reporter

__all__ = [
    "DatabaseUpgrade",
    "DoctorReport",
    "Explanation",
    "ExportReport",
    "History",
    "LoggingReporter",
    "Measurement",
    "RuntimeMeasurements",
    "ParetoResult",
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
    "resume_command",
    "run_worker",
    "search",
    "sensitivity",
    "show_study",
    "terminal_reporter",
    "upgrade_studies",
    "vacuum_studies",
    "validate_profile",
]
