"""Timelines whose answers are known."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx, nn

from autogate.latency.model.timelines import Timelines
from autogate.latency.timing import MarkedNetwork
from autogate.surgery import UNIT

SYNC_MS = 0.4
HOST, DEVICE = (0.2, 0.3, 0.1), (1.0, 0.05, 2.0)


def end_of(device: tuple[float, ...], host: tuple[float, ...], waits: tuple[bool, ...] = (False,) * 3) -> float:
    lines = Timelines(1)
    for unit in zip(device, host, waits, strict=True):
        lines.run(*unit)
    return float(lines.device_ms[0])


def test_on_one_timeline_times_add_up() -> None:
    assert end_of(DEVICE, (0.0, 0.0, 0.0)) == sum(DEVICE)


def test_a_busy_device_hides_the_host() -> None:
    assert end_of((1.0, 2.0, 3.0), HOST) == 6.0


def test_a_slow_host_hides_the_device() -> None:
    assert np.isclose(end_of((0.01, 0.02, 0.01), HOST), sum(HOST))


def test_a_unit_of_many_small_kernels_is_not_done_before_the_host_is() -> None:
    # The second unit could be done at 1.05, but the host hands it out until 0.2 + 2.0.
    assert np.isclose(end_of((1.0, 0.05, 0.5), (0.2, 2.0, 0.1)), 2.7)


def test_a_gate_that_decides_on_data_makes_the_host_wait() -> None:
    # The host waits until 1.0, and hands out 0.3 meanwhile.
    assert np.isclose(end_of((1.0, 0.05, 2.0), HOST, (False, True, False)), 1.0 + 0.3 + 2.0)


def test_many_policies_at_once() -> None:
    lines = Timelines(2)
    lines.run(np.array([1.0, 0.1]), np.array([0.2, 0.4]), np.array([False, False]))
    lines.run(np.array([1.0, 0.1]), np.array([0.2, 0.4]), np.array([False, True]))
    assert lines.device_ms.tolist() == [2.0, 0.8]
    assert lines.launch_bound.tolist() == [False, True]


class SimulatedGpu:
    """A clock of a device that works off a queue: times are known to the last digit."""

    on_gpu = True

    def __init__(self) -> None:
        self.host = 0.0
        self.device = 0.0

    def launch(self, host_ms: float, device_ms: float) -> None:
        self.host += host_ms
        self.device = max(self.device, self.host) + device_ms

    def now(self) -> float:
        # An event happens when the device has done what came before, and not before it is recorded.
        self.device = max(self.device, self.host)
        return self.device

    def host_ms(self) -> float:
        return self.host

    def between_ms(self, start: float, end: float) -> float:
        return end - start

    def settle(self) -> None:
        self.host = max(self.host, self.device)

    def hold(self, ms: float) -> None:
        self.device = max(self.device, self.host) + ms


class Kernel(nn.Module):
    """One that ``looks`` needs results of the device, which take a while to come, before it is handed out."""

    def __init__(self, gpu: SimulatedGpu, host_ms: float, device_ms: float, looks: bool) -> None:
        super().__init__()
        self.gpu, self.times, self.looks = gpu, (host_ms, device_ms), looks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.looks:
            self.gpu.settle()
            self.gpu.host += SYNC_MS
        self.gpu.launch(*self.times)
        return x


def network_on(gpu: SimulatedGpu, device: tuple[float, ...], looks: tuple[bool, ...] = (False,) * 3) -> fx.GraphModule:
    graph = fx.Graph()
    value = graph.placeholder("x")
    root = {}
    for unit, times in enumerate(zip(HOST, device, looks, strict=True)):
        root[f"k{unit}"] = Kernel(gpu, *times)
        value = graph.call_module(f"k{unit}", (value,))
        value.meta[UNIT] = unit
    graph.output(value)
    return fx.GraphModule(root, graph)


def test_host_and_device_times_are_told_apart_and_compose_to_the_whole() -> None:
    for device in (DEVICE, (0.01, 0.02, 0.01), (1.0, 2.0, 3.0)):
        gpu = SimulatedGpu()
        marked = MarkedNetwork(network_on(gpu, device), gpu)  # type: ignore[arg-type]
        found = marked.run(torch.zeros(1))
        assert np.allclose([found.units_ms[i] for i in range(3)], device)
        assert np.allclose([found.host_ms[i] for i in range(3)], HOST)
        # A kernel starts when it has been handed out, so that the host's first unit comes before all.
        expected = gpu_time(device)
        assert np.isclose(found.whole_ms, expected)
        assert abs(end_of(device, HOST) - expected) <= max(HOST)


def gpu_time(device: tuple[float, ...]) -> float:
    gpu = SimulatedGpu()
    for times in zip(HOST, device, strict=True):
        gpu.launch(*times)
    return gpu.device


def test_a_host_that_waits_is_not_counted_twice() -> None:
    gpu, looks = SimulatedGpu(), (False, True, False)
    found = MarkedNetwork(network_on(gpu, DEVICE, looks), gpu).run(torch.zeros(1))  # type: ignore[arg-type]
    assert np.isclose(found.host_ms[1], SYNC_MS + HOST[1])
    device = tuple(found.units_ms[i] for i in range(3))
    composed = end_of(device, tuple(found.host_ms[i] for i in range(3)), looks)
    assert abs(composed - found.whole_ms) <= max(HOST)
    assert np.isclose(found.whole_ms, HOST[0] + DEVICE[0] + SYNC_MS + HOST[1] + HOST[2] + DEVICE[2])


def test_a_captured_network_is_timed_as_a_whole_and_unit_by_unit_without_the_host() -> None:
    gpu = SimulatedGpu()
    found = MarkedNetwork(network_on(gpu, DEVICE), gpu, lambda x: gpu.launch(0.01, 2.5)).run(torch.zeros(1))  # type: ignore[arg-type]
    assert np.isclose(found.whole_ms, 2.5 + 0.01)
    assert np.allclose([found.units_ms[i] for i in range(3)], DEVICE)
    assert not found.host_ms
