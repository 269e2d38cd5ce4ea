"""Studies in SQL: AutoGate's tables beside Optuna's, and the queries on them."""

from autogate.store.artifacts import checked_url
from autogate.store.database import holds_studies, upgrade_database
from autogate.store.jobs import renewal_s
from autogate.store.running import StudyRunningError
from autogate.store.store import Store
from autogate.store.studies import check_name
from autogate.store.trials import COUNTED
from autogate.store.urls import STORAGE_VARIABLE, default_storage

__all__ = [
    "COUNTED",
    "STORAGE_VARIABLE",
    "Store",
    "StudyRunningError",
    "check_name",
    "checked_url",
    "default_storage",
    "holds_studies",
    "renewal_s",
    "upgrade_database",
]
