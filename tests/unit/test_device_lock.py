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
pytestmark = pytest.mark.e2e  # other processes

TRAIN = """
import sys, time
from pathlib import Path
import torch
from autogate import device_lock
FOLDER = Path(sys.argv[1])
while True:
    with device_lock.training_step(torch.device("cpu"), folder=FOLDER):
        begin = time.monotonic()
        time.sleep(0.02)
        print(begin, time.monotonic(), flush=True)
"""
MEASURE = """
import sys, time
from pathlib import Path
import torch
from autogate import device_lock
FOLDER = Path(sys.argv[1])
with device_lock.measurement(torch.device("cpu"), folder=FOLDER):
    print("alone", flush=True)
    time.sleep(60)
"""
MEASURE_GPU = MEASURE.replace("folder=FOLDER", "folder=FOLDER, name_of=lambda device: 'gpu-b'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def gpu_name(device: torch.device) -> str:
    return "gpu-b" if device.index else "gpu-a"


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
        with measurement(CPU, folder=folder):
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
    with running(TRAIN, folder) as process, training_step(CPU, folder=folder):
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
        with measurement(CPU, folder=folder):
            waited_s, own_s = time.monotonic() - begun, device_lock.measuring_clock() - own
    assert waited_s > 0.5
    assert own_s < 0.2


def test_a_measurement_on_a_gpu_keeps_training_on_the_cpu_out(folder: Path) -> None:
    with running(TRAIN, folder) as process:
        # The first on this GPU, of which the steps do not know yet.
        with measurement(GPU, folder=folder, name_of=gpu_name):
            begin = time.monotonic()
            time.sleep(0.3)
            end = time.monotonic()
        time.sleep(0.3)
        process.kill()
        assert process.stdout is not None
        steps = [tuple(map(float, line.split())) for line in process.stdout if len(line.split()) == 2]
    assert not [step for step in steps if step[0] < end and step[1] > begin]
    assert any(step[0] >= end for step in steps)


def test_two_gpus_are_measured_at_once_and_the_cpu_is_not(folder: Path) -> None:
    with running(MEASURE_GPU, folder) as process:
        (folder / "gpu-a").touch()  # measured before
        begin = time.monotonic()
        with measurement(GPU, folder=folder, name_of=gpu_name):
            pass
        assert time.monotonic() - begin < 10
        threading.Timer(0.5, process.kill).start()
        asked = time.monotonic()
        with training_step(CPU, folder=folder):
            assert time.monotonic() - asked > 0.4


def test_the_lock_of_a_dead_process_is_free(folder: Path) -> None:
    with running(MEASURE, folder) as process:
        started = time.monotonic()
        process.kill()
        with training_step(CPU, folder=folder):
            assert time.monotonic() - started < 10


def test_without_a_place_for_locks_nothing_is_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with measurement(CPU, folder=tmp_path / "file" / "locks"):
        pass
