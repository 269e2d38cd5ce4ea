"""How a study meets a Ray cluster: what the cluster shows of it, and what is said where it cannot be had."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ray")

_CONNECT = """
import sys
from pathlib import Path
import ray
from autogate.search.teams.ray_cluster import connect

assert connect("local", "first")
print([job["Entrypoint"] for job in ray._private.state.jobs()])
session = Path(ray._private.worker._global_node.get_session_dir_path())
print([str(f) for f in session.rglob("*") if f.is_file() and sys.argv[1].encode() in f.read_bytes()])
assert not connect("local", "second")
"""


@pytest.mark.slow
def test_a_cluster_does_not_show_the_command_line() -> None:
    command = [sys.executable, "-c", _CONNECT, "hunter22"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.splitlines() == ["['autogate, study first']", "[]"]
