from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Takes and frees blocks of 64 MiB as steps of a training do, and counts the pages that the system had to provide.
STEPS = """
import ctypes, resource
from autogate.system import freed_memory_kept
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    before = pages()
    blocks = [libc.malloc(64 * 2**20) for _ in range(2)]
    for block in blocks:
        ctypes.memset(block, 1, 64 * 2**20)
    for block in blocks:
        libc.free(block)
    return pages() - before
def resident():
    return int(open("/proc/self/statm").read().split()[1])
step()
usual = step()
with freed_memory_kept():
    with freed_memory_kept():
        step()
    step()
    kept = step()
    inside = resident()
print(usual > 20_000, kept < 500, resident() < inside - 30_000)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "True True True"),
        ({"MALLOC_TOP_PAD_": "4096"}, "True False False"),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_max=70000"}, "True False False"),
    ],
)
def test_steps_need_no_new_pages_and_the_memory_goes_back(variables: dict[str, str], expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **variables},
    )
    assert done.stdout.strip() == expected
