"""Studies in SQL: AutoGate's tables beside Optuna's, and the queries on them."""

from autogate.store.database import DEFAULT_URL, database_exists
from autogate.store.store import COUNTED, FinalistRecord, Store, TrialRecord

__all__ = ["COUNTED", "DEFAULT_URL", "FinalistRecord", "Store", "TrialRecord", "database_exists"]
