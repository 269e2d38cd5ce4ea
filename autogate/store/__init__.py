"""Studies in SQL: AutoGate's tables beside Optuna's, and the queries on them."""

from autogate.store.database import DEFAULT_URL, database_exists
from autogate.store.store import COUNTED, Store

__all__ = ["COUNTED", "DEFAULT_URL", "Store", "database_exists"]
