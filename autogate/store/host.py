"""What identifies a host, and whether a file lies on a file system that several hosts share."""

from __future__ import annotations

import socket
import uuid
from functools import cache
from pathlib import Path

import psutil

from autogate.errors import StudyError
from autogate.policy import digest

MOVE = "move the study to PostgreSQL, or to a file of this host, with `autogate studies copy`"


@cache
def this_host() -> str:
    """Return the host's name, identity and boot, as stored with a study."""
    name = socket.gethostname()
    machine = _first_line("/etc/machine-id") or str(uuid.getnode())
    return f"{name}/{digest([name, machine])}/{_first_line('/proc/sys/kernel/random/boot_id')}"


def same_host(one: str, other: str) -> bool:
    """Whether two hosts are one: by identity; or by boot, where each container has another name."""
    _, machine, boot = one.rsplit("/", 2)
    _, other_machine, other_boot = other.rsplit("/", 2)
    return machine == other_machine or (boot == other_boot != "")


def host_name(host: str) -> str:
    """Return how a message calls a host."""
    return host.rsplit("/", 2)[0]


def check_same_host(study: str, host: str, instead: str = MOVE) -> None:
    """Refuse what is safe only on the host that runs a study whose database is a file.

    Args:
        study: Name of the study.
        host: The host that runs it.
        instead: What the user is to do instead.

    Raises:
        StudyError: If that is not this one.
    """
    if not same_host(host, this_host()):
        raise StudyError(
            f"study {study!r} is run by host {host_name(host)}, and a SQLite file cannot be shared by "
            f"hosts: its locks do not reach from one to another; {instead}"
        )


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


_SHARED = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "lustre",
    "beegfs",
    "gpfs",
    "ceph",
    "afs",
    "fuse.sshfs",
    "fuse.glusterfs",
}


def on_network(path: Path) -> bool:
    """Whether ``path``, a file that need not exist, lies on a network file system.

    False where this host has no table of mounted file systems.
    """
    try:
        mounts = psutil.disk_partitions(all=True)
    except OSError:
        return False
    path = path.resolve()
    around = [(len(mount.mountpoint), mount.fstype) for mount in mounts if path.is_relative_to(mount.mountpoint)]
    return bool(around) and max(around)[1] in _SHARED
