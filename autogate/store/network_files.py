"""Whether a file lies on a file system that several hosts share."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/mounts")
_SHARED = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "lustre",
    "beegfs",
    "gpfs",
    "ceph",
    "afs",
    "fuse.sshfs",
    "fuse.glusterfs",
}


def on_network(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether ``path`` lies on a network file system, as far as this host can tell.

    Args:
        path: A file, which need not be there.
        mounts: The host's table of mounted file systems; without one, nothing is known to be shared.
    """
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    place = path.resolve()
    over = [(len(row[1]), row[2]) for row in rows if len(row) > 2 and place.is_relative_to(_unescaped(row[1]))]
    return bool(over) and max(over)[1] in _SHARED


def _unescaped(mounted: str) -> str:
    return mounted.replace("\\040", " ")
