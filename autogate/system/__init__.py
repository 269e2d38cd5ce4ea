"""The process and its host: locks, heartbeats, the version of the code, files that ship with it."""

from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.shipped_files import shipped_folder
from autogate.system.version import VERSION, code_version

__all__ = ["VERSION", "ProcessHeartbeat", "code_version", "is_dead", "new_id", "shipped_folder"]
