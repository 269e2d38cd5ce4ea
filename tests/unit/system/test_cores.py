"""Cores that a process may use, in containers and batch jobs of every kind."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from autogate.system import cpu_quota, usable_cores

V1 = "34 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "30 23 0:26 {shown} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
OTHER = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup c rw,memory\n"
)


def host(root: Path, mounts: str, member: str, files: dict[str, str]) -> Path:
    """Return the root of a host that says so of this process."""
    for path, text in {"proc/self/mountinfo": OTHER + mounts, "proc/self/cgroup": member, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def version_1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    place = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    return {f"{place}/cpu.cfs_quota_us": f"{quota}\n", f"{place}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(
    ("mounts", "member", "files", "cores"),
    [
        # docker run --cpus 1, with control groups of version 2, and of version 1 with and without a namespace.
        (V2.format(shown="/"), "0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1.0),
        (V1.format(shown="/"), "4:cpu,cpuacct:/\n", version_1("", 100_000), 1.0),
        (V1.format(shown="/docker/ab"), "4:cpu,cpuacct:/docker/ab\n", version_1("", 150_000), 1.5),
        # A batch system limits a group above that of the process.
        (V2.format(shown="/"), "0::/job/step\n", {"sys/fs/cgroup/job/cpu.max": "50000 100000\n"}, 0.5),
        (V1.format(shown="/"), "4:cpu,cpuacct:/job/step\n", version_1("job", 800_000) | version_1("job/step", -1), 8.0),
        # Both are mounted, and the process is limited by the older one.
        (V1.format(shown="/") + V2.format(shown="/"), "4:cpu,cpuacct:/x\n0::/\n", version_1("x", 30_000, 10_000), 3.0),
        # No limit, and what is not there.
        (V2.format(shown="/"), "0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (V1.format(shown="/"), "4:cpu,cpuacct:/\n", version_1("", -1), None),
        (V2.format(shown="/other"), "0::/elsewhere\n", {}, None),
        ("", "", {}, None),
    ],
)
def test_quotas(tmp_path: Path, mounts: str, member: str, files: dict[str, str], cores: float | None) -> None:
    assert cpu_quota(host(tmp_path, mounts, member, files)) == cores


def test_the_smallest_quota_of_all_groups_counts(tmp_path: Path) -> None:
    rng = random.Random(0)
    for case in range(20):
        names = [f"g{depth}" for depth in range(rng.randint(1, 4))]
        limits = {i: rng.randint(1, 640) / 10 for i in range(len(names) + 1) if rng.random() < 0.6}
        files = {
            "/".join(["sys/fs/cgroup", *names[:i], "cpu.max"]): f"{round(cores * 100_000)} 100000"
            for i, cores in limits.items()
        }
        root = host(tmp_path / str(case), V2.format(shown="/"), f"0::/{'/'.join(names)}\n", files)
        assert cpu_quota(root) == min(limits.values(), default=None)


def test_threads_run_on_whole_cores_that_affinity_allows(tmp_path: Path) -> None:
    mine = os.sched_getaffinity(0)
    for quota, most in ((0.3, 1), (1.0, 1), (1.9, 1), (2.5, 2), (500.0, 500)):
        limit = {"sys/fs/cgroup/cpu.max": f"{round(quota * 100_000)} 100000"}
        assert usable_cores(host(tmp_path, V2.format(shown="/"), "0::/\n", limit)) == min(len(mine), most)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, mine)
