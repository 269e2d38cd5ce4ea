"""The process and its host: heartbeats, code version, shipped files, error texts, plug-ins, private library parts."""

from autogate.system.compat import (
    allocation_sizes,
    has_known_optuna_tables,
    insert_optuna_params,
    occupy_gpu,
    ray_entrypoint,
)
from autogate.system.file_lock import FileLock, make_shared_folder
from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.installation import VERSION, code_version, shipped_folder
from autogate.system.messages import is_short_of_memory, missing_packages, one_line, printable, suggest, why_unreadable
from autogate.system.registry import Plugin, Registry, registering
from autogate.system.yaml_file import read_yaml

__all__ = [
    "FileLock",
    "Plugin",
    "ProcessHeartbeat",
    "Registry",
    "VERSION",
    "allocation_sizes",
    "code_version",
    "has_known_optuna_tables",
    "insert_optuna_params",
    "is_dead",
    "is_short_of_memory",
    "make_shared_folder",
    "missing_packages",
    "new_id",
    "occupy_gpu",
    "one_line",
    "printable",
    "ray_entrypoint",
    "read_yaml",
    "registering",
    "shipped_folder",
    "suggest",
    "why_unreadable",
]
