"""Training and measuring on one host, in real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from autogate import device_lock
from autogate.device_lock import measurement, training_step

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
TRAIN = """
import sys, time
from pathlib import Path
import torch
from autogate import device_lock
device_lock._FOLDER = Path(sys.argv[1])
while True:
    with device_lock.training_step(torch.device("cpu")):
        begin = time.monotonic()
        time.sleep(0.02)
        print(begin, time.monotonic(), flush=True)
"""
MEASURE = """
import sys, time
from pathlib import Path
import torch
from autogate import device_lock
device_lock._FOLDER = Path(sys.argv[1])
with device_lock.measurement(torch.device("cpu")):
    print("alone", flush=True)
    time.sleep(60)
"""


MEASURE_GPU = MEASURE.replace("with device_lock", "device_lock._name = lambda device: 'gpu-b'\nwith device_lock")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(device_lock, "_FOLDER", tmp_path / "locks")
    device_lock._lock_file.cache_clear()
    yield tmp_path / "locks"
    device_lock._lock_file.cache_clear()


@contextmanager
def running(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_measurement_waits_for_steps_and_keeps_new_ones_out(folder: Path) -> None:
    with running(TRAIN, folder) as one, running(TRAIN, folder) as other:
        time.sleep(0.2)
        asked = time.monotonic()
        with measurement(CPU):
            begin = time.monotonic()
            time.sleep(0.4)
            end = time.monotonic()
        # Two processes that train without a pause let it in at once.
        assert begin - asked < 5
        time.sleep(0.3)
        for process in (one, other):
            process.kill()
            assert process.stdout is not None
            steps = [tuple(map(float, line.split())) for line in process.stdout if len(line.split()) == 2]
            assert not [step for step in steps if step[0] < end and step[1] > begin]
            assert any(step[1] <= begin for step in steps)
            assert any(step[0] >= end for step in steps)


def test_steps_share_the_host(folder: Path) -> None:
    with running(TRAIN, folder) as process, training_step(CPU):
        begin = time.monotonic()
        time.sleep(0.3)
        end = time.monotonic()
        process.kill()
        assert process.stdout is not None
        steps = [tuple(map(float, line.split())) for line in process.stdout if len(line.split()) == 2]
    assert [step for step in steps if begin <= step[0] and step[1] <= end]


def test_waiting_for_a_device_takes_none_of_a_measurements_own_time(folder: Path) -> None:
    with running(MEASURE, folder) as process:
        threading.Timer(0.6, process.kill).start()
        begun, own = time.monotonic(), device_lock.measuring_clock()
        with measurement(CPU):
            waited_s, own_s = time.monotonic() - begun, device_lock.measuring_clock() - own
    assert waited_s > 0.5
    assert own_s < 0.2


def test_a_measurement_on_a_gpu_keeps_training_on_the_cpu_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(TRAIN, folder) as process:
        with monkeypatch.context() as patched:
            patched.setattr(device_lock, "_name", lambda device: "gpu-a")
            with measurement(GPU):  # the first on this GPU, of which the steps do not know yet
                begin = time.monotonic()
                time.sleep(0.3)
                end = time.monotonic()
        time.sleep(0.3)
        process.kill()
        assert process.stdout is not None
        steps = [tuple(map(float, line.split())) for line in process.stdout if len(line.split()) == 2]
    assert not [step for step in steps if step[0] < end and step[1] > begin]
    assert any(step[0] >= end for step in steps)


def test_two_gpus_are_measured_at_once_and_the_cpu_is_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(MEASURE_GPU, folder) as process:
        with monkeypatch.context() as patched:
            patched.setattr(device_lock, "_name", lambda device: "gpu-b" if device.index else "gpu-a")
            (folder / "gpu-a").touch()  # measured before
            begin = time.monotonic()
            with measurement(GPU):
                pass
            assert time.monotonic() - begin < 10
        threading.Timer(0.5, process.kill).start()
        asked = time.monotonic()
        with training_step(CPU):
            assert time.monotonic() - asked > 0.4


def test_the_lock_of_a_dead_process_is_free(folder: Path) -> None:
    with running(MEASURE, folder) as process:
        started = time.monotonic()
        process.kill()
        with training_step(CPU):
            assert time.monotonic() - started < 10


def test_without_a_place_for_locks_nothing_is_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(device_lock, "_FOLDER", tmp_path / "file" / "locks")
    device_lock._lock_file.cache_clear()
    with measurement(CPU):
        pass
    device_lock._lock_file.cache_clear()
