"""The process and its host: heartbeats, the version of the code, files that ship with it, error texts."""

from autogate.system.heartbeat import ProcessHeartbeat, is_dead, new_id
from autogate.system.messages import one_line, suggest
from autogate.system.shipped_files import shipped_folder
from autogate.system.version import code_version

__all__ = ["ProcessHeartbeat", "code_version", "is_dead", "new_id", "one_line", "shipped_folder", "suggest"]
