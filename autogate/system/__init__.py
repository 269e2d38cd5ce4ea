"""The process and its host: cores, load, heartbeats, version, files, messages, plug-ins, internals of libraries."""

from autogate.system.compat import (
    allocation_sizes,
    has_known_optuna_tables,
    insert_optuna_params,
    occupy_gpu,
    optuna_schema,
    ray_entrypoint,
)
from autogate.system.cores import cpu_quota, usable_cores
from autogate.system.file_lock import FileLock, make_shared_folder
from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.host_load import HostLoad, load_of_others
from autogate.system.installation import VERSION, code_version, shipped_folder
from autogate.system.messages import missing_packages, one_line, suggest
from autogate.system.registry import Plugin, Registry, registering

__all__ = [
    "FileLock",
    "HostLoad",
    "Plugin",
    "ProcessHeartbeat",
    "Registry",
    "VERSION",
    "allocation_sizes",
    "code_version",
    "cpu_quota",
    "has_known_optuna_tables",
    "insert_optuna_params",
    "is_dead",
    "load_of_others",
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
    "usable_cores",
]
