"""The process and its host: heartbeats, the version of the code, shipped files, error texts; registries of plug-ins."""

from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.messages import one_line, suggest
from autogate.system.registry import Plugin, Registry, registering
from autogate.system.shipped_files import shipped_folder
from autogate.system.version import VERSION, code_version

__all__ = [
    "VERSION",
    "Plugin",
    "ProcessHeartbeat",
    "Registry",
    "code_version",
    "is_dead",
    "new_id",
    "one_line",
    "registering",
    "shipped_folder",
    "suggest",
]
