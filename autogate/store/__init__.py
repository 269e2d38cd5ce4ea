"""Studies in SQL: AutoGate's tables beside Optuna's, and the queries on them."""

from autogate.store.database import default_storage, holds_studies
from autogate.store.store import COUNTED, Store

__all__ = ["COUNTED", "Store", "default_storage", "holds_studies"]
