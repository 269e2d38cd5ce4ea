"""How many cores this process may use: by its affinity, and by the CPU quotas of its control groups."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_ROOT = Path("/")
_Quota = Callable[[Path], float | None]


def usable_cores(root: Path = _ROOT) -> int:
    """Return how many threads this process can run at once, at least 1.

    It is the number of cores of its affinity (``taskset``), or less where a container or batch system limits its CPU
    time: part of a core runs no thread all the time.

    Args:
        root: Where ``proc`` and ``sys`` lie.
    """
    quota = cpu_quota(root)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' worth of time this process may take, such as 1.5; None if nothing limits it.

    Quotas of all control groups that hold the process count, of version 1 and 2; the smallest decides.
    """
    quotas = []
    for folder, top, read in _groups(root):
        while True:
            if (quota := read(folder)) is not None:
                quotas.append(quota)
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent
    return min(quotas, default=None)


def _groups(root: Path) -> list[tuple[Path, Path, _Quota]]:
    """Return the control groups of this process that may limit its CPU time: folder, hierarchy's top, and reader."""
    places = _memberships(root)
    found: list[tuple[Path, Path, _Quota]] = []
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, *rest) = before.split(), after.split() or [""]
        options = rest[-1].split(",") if rest else []
        if len(fields) < 5 or not (kind == "cgroup2" or (kind == "cgroup" and "cpu" in options)):
            continue
        inside = places.get("" if kind == "cgroup2" else "cpu", "/")
        # In a container the mounted part of the hierarchy may begin at the process's own group.
        shown = os.path.relpath(inside, fields[3])
        top = root / fields[4].lstrip("/")
        folder = top if shown.startswith("..") else top / shown
        found.append((folder, top, _quota_2 if kind == "cgroup2" else _quota_1))
    return found


def _memberships(root: Path) -> dict[str, str]:
    """Return the process's control group by controller; version 2 is the empty name."""
    places = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        places.update(dict.fromkeys(controllers.split(","), path))
    return places


def _quota_2(folder: Path) -> float | None:
    return _cores(*[word for line in _lines(folder / "cpu.max")[:1] for word in line.split()][:2])


def _quota_1(folder: Path) -> float | None:
    return _cores(*[line for name in ("quota", "period") for line in _lines(folder / f"cpu.cfs_{name}_us")[:1]])


def _cores(quota: str = "max", period: str = "") -> float | None:
    """Return quota over period, both in microseconds; None for a quota that is no limit or cannot be read."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
