"""One function per command; the command line calls these and nothing else.

Everything heavy is imported where it is used, so that reading a study loads no torch.
"""

from autogate.api.devices import doctor, explain, measure, predict, predict_many, profile, validate_profile
from autogate.api.gated_networks import apply, compact, gate_loss
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
from autogate.api.networks import sensitivity, sites, spaces
from autogate.api.replays import replay
from autogate.api.study import Study
from autogate.api.study_runs import dry_run, export, pareto, resume, search, show, studies
from autogate.api.workers import worker

__all__ = [
    "Study",
    "apply",
    "compact",
    "copy_study",
    "delete_study",
    "describe_study",
    "doctor",
    "dry_run",
    "explain",
    "export",
    "export_study",
    "gate_loss",
    "history",
    "import_study",
    "measure",
    "pareto",
    "predict",
    "predict_many",
    "profile",
    "replay",
    "resume",
    "search",
    "sensitivity",
    "show",
    "sites",
    "spaces",
    "studies",
    "upgrade_studies",
    "vacuum_studies",
    "validate_profile",
    "worker",
]
