"""Time single passes of networks, and of their units, on a clock that fits the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn

from autogate.latency.hardware import DTYPES, LAYOUTS, inference_setting
from autogate.records import Setting
from autogate.runtimes import Runnable, TimedRunnable, get_runtime, runnable
from autogate.sites import attribute
from autogate.surgery import UNIT
from autogate.system import occupy_gpu

# Clocks rise and caches fill in about that time, however short a pass is.
WARM_UP_S = 0.15
# How much longer than the host needs a GPU is held back.
_HOLD = 2.0
_MIN_HOLD_MS = 0.05
# What a mark takes at the most, and from which share of the whole on it matters.
_MARK_MS = 0.003
_NEGLIGIBLE = 0.005


class Clock:
    """Reads the time when the device has done everything it was asked before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"

    def now(self) -> Any:
        """Return a mark: an event on a GPU, a counter in nanoseconds on the CPU."""
        if not self.on_gpu:
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def between_ms(self, start: Any, end: Any) -> float:
        """Return the milliseconds between two marks."""
        if not self.on_gpu:
            return float(end - start) * 1e-6
        end.synchronize()
        return float(start.elapsed_time(end))

    def host_ms(self) -> float:
        """Return the host's clock, in milliseconds."""
        return time.perf_counter_ns() * 1e-6

    def settle(self) -> None:
        """Wait until the device has finished all work."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def hold(self, ms: float) -> None:
        """Keep a GPU busy for at least ``ms`` milliseconds, so that the host gets ahead of it."""
        occupy_gpu(self.device, ms)


@dataclass(frozen=True)
class Pass:
    """One run of a network.

    Attributes:
        whole_ms: Time from the start to the last result, in milliseconds.
        units_ms: Time of each unit on the device, in milliseconds, by position.
        host_ms: Time the host takes to launch each unit on an idle device, in milliseconds, by position; empty on CPUs.
            Includes waiting for results of the unit that the host needs before it can go on.
        group: Number of the group within its round.
        throttled: Whether the device was throttled during the run.
        entries_ms: Time before units to bring what they read into their layout, in milliseconds, by position.
    """

    whole_ms: float
    units_ms: Mapping[int, float]
    host_ms: Mapping[int, float] = field(default_factory=dict)
    group: int = 0
    throttled: bool = False
    entries_ms: Mapping[int, float] = field(default_factory=dict)


class _Mark(nn.Module):
    """Reports that the graph has reached the end of a unit."""

    def __init__(self, unit: int, reached: Callable[[int], None]) -> None:
        super().__init__()
        self.unit = unit
        self.reached = reached

    def forward(self) -> None:
        """Report it."""
        self.reached(self.unit)


class MarkedNetwork:
    """A compact network that also measures the time of each of its units.

    Args:
        compact: The network.
        clock: Reads the device's time.
        whole: Runs the same network as a whole, if that is not how it runs unit by unit; the host has no part in it.
    """

    def __init__(self, compact: fx.GraphModule, clock: Clock, whole: Runnable | None = None) -> None:
        self.clock = clock
        self.whole = whole
        self._compact = compact
        self._last: Pass | None = None
        self._marks_matter = self._with_marks = False
        self._reached: Callable[[int], None] = lambda unit: None
        ends: dict[int, fx.Node] = {}
        for node in compact.graph.nodes:
            if node.op not in ("placeholder", "get_attr", "output"):
                ends[int(node.meta[UNIT])] = node
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        root: dict[str, Any] = {}
        for node in compact.graph.nodes:
            copies[node] = graph.node_copy(node, copies.__getitem__)
            target = str(node.target)
            if node.op == "call_module":
                root[target] = compact.get_submodule(target)
            elif node.op == "get_attr":
                root[target] = attribute(compact, target)
            unit = node.meta.get(UNIT)
            if unit is not None and ends.get(unit) is node:
                root[f"marks.{unit}"] = _Mark(int(unit), lambda unit: self._reached(unit))
                graph.call_module(f"marks.{unit}")
        self.module = fx.GraphModule(root, graph).eval()

    def run(self, x: torch.Tensor) -> Pass:
        """Run once, on a GPU several times in different ways, and return what it took.

        Of a network so small that marks matter, every second run is without: it gives the time of the whole, and the
        one before the times of the units.
        """
        if self.clock.on_gpu:
            return self._run_on_two_timelines(x)
        if self._last is None or not self._marks_matter:
            self._last = self._run_on_one(x)
            self._marks_matter = len(self._last.units_ms) * _MARK_MS > _NEGLIGIBLE * self._last.whole_ms
            if self._marks_matter:
                self._last = replace(self._last, whole_ms=self._run_bare(x))
            return self._last
        self._with_marks = not self._with_marks
        whole_ms = self._last.whole_ms if self._with_marks else self._run_bare(x)
        self._last = replace(self._run_on_one(x) if self._with_marks else self._last, whole_ms=whole_ms)
        return self._last

    def _run_bare(self, x: torch.Tensor) -> float:
        return pass_ms(self.whole or self._compact, x, self.clock)

    def _run_on_one(self, x: torch.Tensor) -> Pass:
        marks: list[tuple[int, Any]] = []
        self._reached = lambda unit: marks.append((unit, self.clock.now()))
        start = self.clock.now()
        self.module(x)
        end = self.clock.now()
        units, previous = {}, start
        for unit, mark in marks:
            units[unit] = self.clock.between_ms(previous, mark)
            previous = mark
        return Pass(self.clock.between_ms(start, end), units)

    def _run_on_two_timelines(self, x: torch.Tensor) -> Pass:
        """Take the whole from a free run, and the times of units from runs in which host and device wait in turns."""
        self._run_bare(x)  # other networks ran since; a host that is used to this one is faster
        host_ms = self._host_times(x)
        whole_ms = self._run_bare(x)
        return Pass(whole_ms, self._device_times(x, host_ms), {} if self.whole is not None else host_ms)

    def _host_times(self, x: torch.Tensor) -> dict[int, float]:
        """Let the host wait for the device after every unit."""
        clock, found = self.clock, dict[int, float]()
        clock.settle()
        begun = clock.host_ms()

        def reached(unit: int) -> None:
            nonlocal begun
            found[unit] = clock.host_ms() - begun
            clock.settle()
            begun = clock.host_ms()

        self._reached = reached
        self.module(x)
        clock.settle()
        return found

    def _device_times(self, x: torch.Tensor, host_ms: Mapping[int, float]) -> dict[int, float]:
        """Let the device wait before every unit until the host has launched it."""
        clock, spans = self.clock, list[tuple[int, Any, Any]]()
        units = iter([*host_ms.values(), 0.0])

        def hold() -> Any:
            clock.hold(max(_MIN_HOLD_MS, _HOLD * next(units)))
            return clock.now()

        start = hold()

        def reached(unit: int) -> None:
            nonlocal start
            spans.append((unit, start, clock.now()))
            start = hold()

        self._reached = reached
        self.module(x)
        clock.settle()
        return {unit: clock.between_ms(a, b) for unit, a, b in spans}


def timed(module: nn.Module, x: torch.Tensor, setting: Setting) -> Callable[[], float]:
    """Return a call that runs a network as the setting says, and returns what it took, in milliseconds.

    Args:
        module: The network, in the setting's form.
        x: What it runs on, likewise, ``[N, C, H, W]``.
        setting: How to run.

    Raises:
        DeviceError: If it cannot run so.
    """
    clock = Clock(torch.device(setting.device))
    with inference_setting(setting):
        network = runnable(module, x, setting)

    return lambda: pass_ms(network, x, clock)


def pass_ms(network: Runnable, x: torch.Tensor, clock: Clock) -> float:
    """Run a network once, and return what it took, in milliseconds; one in another process is timed there."""
    if isinstance(network, TimedRunnable):
        return network.time_ms(x)
    start = clock.now()
    network(x)
    return clock.between_ms(start, clock.now())


def _dtype(setting: Setting) -> torch.dtype:
    """Return the element type of modules and inputs; a runtime that reads files computes in another by itself."""
    if get_runtime(setting.runtime).isolated:
        return torch.float32
    return DTYPES.get(setting.dtype, torch.float32)


def prepare(module: nn.Module, setting: Setting) -> nn.Module:
    """Bring a compact network into the setting's device, dtype and layout."""
    module = module.to(device=setting.device, dtype=_dtype(setting))
    return module.to(memory_format=LAYOUTS[setting.layout])


def prepare_input(x: torch.Tensor, setting: Setting) -> torch.Tensor:
    """Bring an input batch, ``[N, C, H, W]``, into the setting's device, dtype and layout."""
    x = x.to(device=setting.device, dtype=_dtype(setting))
    return x.contiguous(memory_format=LAYOUTS[setting.layout])


def random_input(input_shape: tuple[int, int, int], setting: Setting, seed: int = 0) -> torch.Tensor:
    """Return a batch of standard normal noise in the setting's form."""
    generator = torch.Generator().manual_seed(seed)
    return prepare_input(torch.randn(setting.batch_size, *input_shape, generator=generator), setting)
