"""Energy per image, by a counter whose readings are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml
import pytest
import torch
from torch import nn

from autogate.errors import DeviceError
from autogate.latency.hardware import setting_of
from autogate.records import Comparison, EnergyComparison, Measurement
from autogate.resources import EnergyCounter, compare_energy, counts_energy, energy, energy_counter

SETTING = setting_of(torch.device("cpu"), batch_size=4, layout="contiguous", threads=1)
INPUTS = [torch.rand(4, 3, 8, 8) for _ in range(3)]


class ScriptedNvml:
    """Stands in for the management library: the energy is what the networks say they take, read in coarse steps."""

    def __init__(self, step_mj: int = 40) -> None:
        self.used_mj = 123_456.0
        self.step_mj = step_mj

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: str) -> int:  # noqa: N802 - the library's own name
        assert gpu == "gpu 0"
        return int(self.used_mj // self.step_mj) * self.step_mj


class Load(nn.Module):
    """Takes a known energy per pass."""

    def __init__(self, nvml: ScriptedNvml, mj: float) -> None:
        super().__init__()
        self.nvml = nvml
        self.mj = mj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.nvml.used_mj += self.mj
        return x.square().sum()


def compared(dense_mj: float, gated_mj: float, step_mj: int = 40, windows: int = 4, **more: float) -> EnergyComparison:
    nvml = ScriptedNvml(step_mj)
    dense, gated = Load(nvml, dense_mj), Load(nvml, gated_mj)
    counter = EnergyCounter("gpu 0", nvml)
    return compare_energy(dense, gated, INPUTS, SETTING, counter, windows=windows, window_s=0.05, **more)


def test_joules_per_image_of_both() -> None:
    found = compared(8.0, 2.0)
    # Batches of four images.
    assert found.dense_joules_per_image == pytest.approx(2e-3, rel=0.02)
    assert found.gated_joules_per_image == pytest.approx(0.5e-3, rel=0.02)
    assert found.ratio == pytest.approx(0.25, rel=0.02)
    assert found.ratio_interval[0] <= found.ratio <= found.ratio_interval[1]
    assert found.gated_interval[0] <= found.gated_joules_per_image <= found.gated_interval[1]
    assert found.windows == 4


def test_a_gated_network_that_takes_more_is_seen_to() -> None:
    assert compared(2.0, 3.0).ratio == pytest.approx(1.5, rel=0.02)


def test_a_counter_that_stands_still_is_an_error() -> None:
    with pytest.raises(DeviceError, match="energy counter did not move.*leave --energy-budget out"):
        compared(0.0, 0.0, standstill_s=0.05)


def test_the_counter_reads_millijoules() -> None:
    nvml = ScriptedNvml(step_mj=1)
    read = EnergyCounter("gpu 0", nvml)
    before = read.joules()
    nvml.used_mj += 2500
    assert read.joules() - before == pytest.approx(2.5)


def test_a_cpu_counts_no_energy() -> None:
    assert not counts_energy(torch.device("cpu"))
    with energy_counter(torch.device("cpu")) as found:
        assert found is None


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_may_count_its_energy_or_not(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    @contextmanager
    def handle_of(device: torch.device) -> Iterator[str]:
        yield f"handle of {device}"

    def read(gpu: Any) -> int:
        assert gpu == "handle of cuda:0"
        if not able:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 7000

    monkeypatch.setattr(energy, "handle_of", handle_of)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", read)
    with energy_counter(torch.device("cuda:0")) as found:
        assert (found is not None) == able
        assert found is None or found.joules() == 7.0


def test_what_was_measured_is_stored_with_its_comparison() -> None:
    found = compared(8.0, 2.0, windows=2)
    measurement = Measurement(1.0, 1.0, 1.0, 1.0, (0.9, 1.1), 8, 30)
    for known in (found, None):
        comparison = Comparison(measurement, measurement, 1.0, (0.9, 1.1), SETTING, known)
        assert Comparison.from_json(comparison.to_json()) == comparison
    # Comparisons of earlier versions say nothing of energy.
    earlier = {key: value for key, value in comparison.to_json().items() if key != "energy"}
    assert Comparison.from_json(earlier) == comparison


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_larger_network_takes_more_energy_on_a_gpu() -> None:
    device = torch.device("cuda:0")
    if not counts_energy(device):
        pytest.skip("needs a GPU with an energy counter")
    place = setting_of(device, batch_size=64, layout="contiguous")
    large = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(8)))
    inputs = [torch.rand(64, 64, 56, 56)]
    with energy_counter(device) as readings:
        assert readings is not None
        found = compare_energy(large, large[:4], inputs, place, readings, windows=3, window_s=1.0)
    assert 0.3 < found.ratio < 0.8
    assert found.gated_joules_per_image > 0
