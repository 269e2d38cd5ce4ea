"""Whether a file lies on a file system that several hosts share."""

from __future__ import annotations

from pathlib import Path

import psutil

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
