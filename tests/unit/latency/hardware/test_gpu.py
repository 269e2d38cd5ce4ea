"""What is read from NVIDIA's management library, and the one thing that is ever set there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from autogate.errors import DeviceError
from autogate.latency.hardware import device as devices
from autogate.latency.hardware import gpu, setting_of
from autogate.latency.hardware.gpu import gpu_modes

GPU = torch.device("cuda:0")
READINGS = {
    "nvmlSystemGetDriverVersion": lambda: "600.1",
    "nvmlDeviceGetClockInfo": lambda gpu, kind: 1000 + kind,
    "nvmlDeviceGetMaxClockInfo": lambda gpu, kind: 1980,
    "nvmlDeviceGetPowerUsage": lambda gpu: 250_000,
    "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: 700_000,
    "nvmlDeviceGetTemperature": lambda gpu, kind: 55,
    "nvmlDeviceGetComputeRunningProcesses": lambda gpu: [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=-1)],
    "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: 0,
}


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...] | str]:
    """Put a made-up GPU in place of the library; return what is set there."""

    @contextmanager
    def handle_of(device: torch.device) -> Iterator[str]:
        yield f"handle of {device}"

    made: list[tuple[int, ...] | str] = []
    monkeypatch.setattr(gpu, "handle_of", handle_of)
    for name, read in READINGS.items():
        monkeypatch.setattr(pynvml, name, read)
    monkeypatch.setattr(pynvml, "nvmlDeviceSetGpuLockedClocks", lambda gpu, low, high: made.append((low, high)))
    monkeypatch.setattr(pynvml, "nvmlDeviceResetGpuLockedClocks", lambda gpu: made.append("restored"))
    return made


def test_the_state_of_a_gpu(calls: list[tuple[int, ...] | str]) -> None:
    found = gpu.gpu_state(GPU)
    assert (found["driver"], found["max_sm_mhz"], found["temperature_c"]) == ("600.1", 1980, 55)
    assert (found["power_watts"], found["power_limit_watts"]) == (250.0, 700.0)
    assert found["other_processes"] == 1
    assert not found["throttled"]
    assert not found["power_capped"]
    assert not calls


@pytest.mark.parametrize(
    ("reasons", "throttled", "capped"),
    [(0x8, True, False), (0x20, True, False), (0x40, True, False), (0x80, True, False), (0x4, False, True)],
)
def test_reasons_to_run_slower(monkeypatch: pytest.MonkeyPatch, reasons: int, throttled: bool, capped: bool) -> None:
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", lambda gpu: reasons)
    found = gpu.gpu_state(GPU)
    assert (found["throttled"], found["power_capped"]) == (throttled, capped)


def test_what_a_gpu_does_not_tell_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", refuse)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", refuse)
    found = gpu.gpu_state(GPU)
    assert found["power_watts"] is found["throttled"] is found["power_capped"] is None


def test_locked_clocks_are_restored_whatever_happens(calls: list[tuple[int, ...] | str]) -> None:
    with pytest.raises(ZeroDivisionError), gpu.clocks_locked(GPU):
        raise ZeroDivisionError
    assert calls == [(1980, 1980), "restored"]


def test_clocks_that_cannot_be_locked(monkeypatch: pytest.MonkeyPatch, calls: list[tuple[int, ...] | str]) -> None:
    with pytest.raises(DeviceError, match="leave --lock-clocks out"), gpu.clocks_locked(torch.device("cpu")):
        pass

    def refuse(*args: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)

    monkeypatch.setattr(pynvml, "nvmlDeviceSetGpuLockedClocks", refuse)
    with pytest.raises(DeviceError, match="cannot lock the clocks of cuda:0"), gpu.clocks_locked(GPU):
        pass
    assert not calls


def test_a_setting_says_how_the_gpu_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "device_name", lambda device: "a made-up GPU")
    monkeypatch.setattr(devices, "_driver_version", lambda: "600.1")

    def versions() -> dict[str, str]:
        return dict(setting_of(GPU, batch_size=1, layout="contiguous", threads=1).versions)

    modes = {"matmul_tf32": "off", "cudnn_tf32": "on", "cudnn_benchmark": "off"}
    assert versions().items() >= modes.items()
    assert "clocks" not in versions()
    with gpu.clocks_locked(GPU):
        assert versions()["clocks"] == "locked"
        assert not gpu.are_locked(torch.device("cuda:1"))
    assert "clocks" not in versions()
    with switched(torch.backends.cuda.matmul, "allow_tf32", True), switched(torch.backends.cudnn, "benchmark", True):
        assert versions().items() >= {**modes, "matmul_tf32": "on", "cudnn_benchmark": "on"}.items()


def test_tf32_is_known_however_it_was_allowed() -> None:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    with switched(matmul, "fp32_precision", "tf32"), switched(conv, "fp32_precision", "ieee"):
        found = gpu_modes(GPU)
    assert (found["matmul_tf32"], found["cudnn_tf32"]) == ("on", "off")


@contextmanager
def switched(backend: Any, name: str, value: object) -> Iterator[None]:
    """Set what torch does not let a monkeypatch set."""
    before = getattr(backend, name)
    setattr(backend, name, value)
    try:
        yield
    finally:
        setattr(backend, name, before)


def test_a_watch_over_a_gpu_counts_heat_and_power_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    # Idle, clocks set by an application, power limit, thermal slowdown by the driver, power brake.
    reasons = iter([0x1, 0x2, 0x4, 0x20, 0x80])
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", lambda gpu: next(reasons))
    with gpu.throttle_watch(GPU) as watch:
        assert watch is not None
        assert [watch() for _ in range(5)] == [False, False, False, True, True]
    assert (watch.asked, watch.throttled, watch.power_capped) == (5, 2, 1)


def test_where_nothing_tells_of_throttling_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", refuse)
    with gpu.throttle_watch(GPU) as watch:
        assert watch is not None
        assert not watch()
    assert watch.asked == watch.throttled == 0
    monkeypatch.setattr(gpu, "handle_of", refuse)
    with gpu.throttle_watch(GPU) as none:
        assert none is None
    with gpu.throttle_watch(torch.device("cpu")) as none:
        assert none is None
