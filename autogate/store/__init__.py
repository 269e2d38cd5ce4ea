"""Studies in SQL: AutoGate's tables next to Optuna's, and the queries on them."""

from autogate.store.artifacts import checked_url
from autogate.store.database import check_place, holds_studies, upgrade_database
from autogate.store.host import check_same_host, this_host
from autogate.store.jobs import renewal_s
from autogate.store.optuna_storage import add_params, has_known_tables, open_storage, optuna_errors, quiet_optuna
from autogate.store.retries import is_drop, retry
from autogate.store.store import Store
from autogate.store.studies import StudyRecord, check_name
from autogate.store.trials import COUNTED
from autogate.store.urls import STORAGE_VARIABLE, default_storage

__all__ = [
    "COUNTED",
    "STORAGE_VARIABLE",
    "Store",
    "StudyRecord",
    "add_params",
    "check_name",
    "check_same_host",
    "checked_url",
    "default_storage",
    "has_known_tables",
    "check_place",
    "holds_studies",
    "is_drop",
    "open_storage",
    "optuna_errors",
    "quiet_optuna",
    "renewal_s",
    "retry",
    "this_host",
    "upgrade_database",
]
