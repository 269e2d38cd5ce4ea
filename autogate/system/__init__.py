"""The process and its host: heartbeats, code version, shipped files, error texts, plug-ins, private library parts."""

from autogate.system.compat import (
    allocation_sizes,
    has_known_optuna_tables,
    import_torch_pruning,
    insert_optuna_params,
    occupy_gpu,
    optuna_schema,
    ray_entrypoint,
)
from autogate.system.file_lock import FileLock, make_shared_folder
from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.installation import VERSION, code_version, shipped_folder
from autogate.system.messages import missing_packages, one_line, suggest
from autogate.system.registry import Plugin, Registry, registering

__all__ = [
    "FileLock",
    "Plugin",
    "ProcessHeartbeat",
    "Registry",
    "VERSION",
    "allocation_sizes",
    "code_version",
    "has_known_optuna_tables",
    "import_torch_pruning",
    "insert_optuna_params",
    "is_dead",
    "make_shared_folder",
    "missing_packages",
    "new_id",
    "occupy_gpu",
    "one_line",
    "optuna_schema",
    "ray_entrypoint",
    "registering",
    "shipped_folder",
    "suggest",
]
