"""The process and its host: heartbeats, code version, shipped files, error texts, other libraries' private parts."""

from autogate.system.compat import (
    allocation_sizes,
    has_known_optuna_tables,
    insert_optuna_params,
    occupy_gpu,
    ray_entrypoint,
)
from autogate.system.file_lock import FileLock, make_shared_folder
from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.installation import code_version, shipped_folder
from autogate.system.messages import one_line, suggest

__all__ = [
    "FileLock",
    "ProcessHeartbeat",
    "allocation_sizes",
    "code_version",
    "has_known_optuna_tables",
    "insert_optuna_params",
    "is_dead",
    "make_shared_folder",
    "new_id",
    "occupy_gpu",
    "one_line",
    "ray_entrypoint",
    "shipped_folder",
    "suggest",
]
