"""The process and its host: cores, load, memory, heartbeats, versions, files, messages, plug-ins, parts of others."""

from autogate.system.compat import (
    allocation_sizes,
    has_known_optuna_tables,
    import_torch_pruning,
    insert_optuna_params,
    occupy_gpu,
    onnx_registry_kept,
    optuna_schema,
    ray_entrypoint,
)
from autogate.system.cores import cpu_quota, usable_cores
from autogate.system.file_lock import FileLock, make_shared_folder
from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.host_load import HostLoad, load_of_others
from autogate.system.installation import VERSION, code_version, shipped_folder
from autogate.system.messages import (
    is_short_of_memory,
    is_text,
    missing_packages,
    one_line,
    printable,
    suggest,
    why_unreadable,
)
from autogate.system.process_memory import freed_memory_kept
from autogate.system.registry import Plugin, Registry, registering
from autogate.system.yaml_file import read_yaml

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
    "freed_memory_kept",
    "has_known_optuna_tables",
    "import_torch_pruning",
    "insert_optuna_params",
    "is_dead",
    "is_short_of_memory",
    "is_text",
    "load_of_others",
    "make_shared_folder",
    "missing_packages",
    "new_id",
    "occupy_gpu",
    "onnx_registry_kept",
    "one_line",
    "optuna_schema",
    "printable",
    "ray_entrypoint",
    "read_yaml",
    "registering",
    "shipped_folder",
    "suggest",
    "usable_cores",
    "why_unreadable",
]
