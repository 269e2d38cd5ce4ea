"""What a real Ray cluster shows, and what it does with hosts that cannot train."""

from __future__ import annotations

import subprocess
import sys

import pytest

from autogate.analysis import add_replay, run_replay
from autogate.errors import TrainingError
from autogate.nas.executors import ray_executor
from autogate.store import Store
from autogate.studies import Reporter

_CONNECT = """
import sys
from pathlib import Path
import ray
from autogate.nas.executors.ray_cluster import connect

assert connect("local", "first")
print([job["Entrypoint"] for job in ray._private.state.jobs()])
session = Path(ray._private.worker._global_node.get_session_dir_path())
print([str(f) for f in session.rglob("*") if f.is_file() and sys.argv[1].encode() in f.read_bytes()])
assert not connect("local", "second")
"""


def test_a_cluster_does_not_show_the_command_line() -> None:
    command = [sys.executable, "-c", _CONNECT, "hunter22"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.splitlines() == ["['autogate, study first']", "[]"]


ELSEWHERE = "elsewhere/another-machine/another-boot"


def test_trials_on_a_host_that_cannot_train_fail_with_the_reason(
    recorded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "this_host", lambda: ELSEWHERE)
    store = Store(recorded)
    config = add_replay(store, "budget", "far", backend="ray", ray_address="local", trials=8)
    with pytest.raises(TrainingError, match=r"trials failed in a row.*: on .*: study 'far' is run by host elsewhere"):
        run_replay(store, "far", config, Reporter())
    reasons = {trial.reason for trial in store.trials("far") if trial.outcome == "failed"}
    assert len(reasons) == 1
    assert store.count_trials("far")["complete"] == 0
    assert store.jobs("far") == []
