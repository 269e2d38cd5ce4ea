"""Time networks: interleaved passes in random order, on a clock that fits the device."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn

from autogate.latency.device import DTYPES, LAYOUTS
from autogate.records import Setting
from autogate.surgery.compact_form import UNIT
from autogate.surgery.graph_copy import attribute


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

    def settle(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)


class _Mark(nn.Module):
    """Notes the time at which the graph reaches it."""

    def __init__(self, clock: Clock, unit: int, marks: list[tuple[int, Any]]) -> None:
        super().__init__()
        self.clock = clock
        self.unit = unit
        self.marks = marks

    def forward(self) -> None:
        """Append this unit's mark."""
        self.marks.append((self.unit, self.clock.now()))


class MarkedNetwork:
    """A compact network that also tells how long each of its units took."""

    def __init__(self, compact: fx.GraphModule, clock: Clock) -> None:
        self.clock = clock
        self.marks: list[tuple[int, Any]] = []
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
                root[f"marks.{unit}"] = _Mark(clock, int(unit), self.marks)
                graph.call_module(f"marks.{unit}")
        self.module = fx.GraphModule(root, graph).eval()

    def run(self, x: torch.Tensor) -> tuple[float, dict[int, float]]:
        """Run once; return the whole time and the time of each unit, in milliseconds."""
        self.marks.clear()
        start = self.clock.now()
        self.module(x)
        end = self.clock.now()
        total = self.clock.between_ms(start, end)
        units, previous = {}, start
        for unit, mark in self.marks:
            units[unit] = self.clock.between_ms(previous, mark)
            previous = mark
        return total, units


def timed(module: nn.Module, x: torch.Tensor, clock: Clock, times: list[float]) -> Callable[[], None]:
    """Return a call that runs ``module`` on ``x``, ``[N, C, H, W]``, and appends the milliseconds to ``times``."""

    def run() -> None:
        start = clock.now()
        module(x)
        times.append(clock.between_ms(start, clock.now()))

    return run


def prepare(module: nn.Module, setting: Setting) -> nn.Module:
    """Bring a compact network into the setting's device, dtype and layout."""
    module = module.to(device=setting.device, dtype=DTYPES[setting.dtype])
    return module.to(memory_format=LAYOUTS[setting.layout])


def prepare_input(x: torch.Tensor, setting: Setting) -> torch.Tensor:
    """Bring an input batch, ``[N, C, H, W]``, into the setting's device, dtype and layout."""
    x = x.to(device=setting.device, dtype=DTYPES[setting.dtype])
    return x.contiguous(memory_format=LAYOUTS[setting.layout])


def random_input(input_shape: tuple[int, int, int], setting: Setting, seed: int = 0) -> torch.Tensor:
    """Return a batch of standard normal noise in the setting's form."""
    generator = torch.Generator().manual_seed(seed)
    return prepare_input(torch.randn(setting.batch_size, *input_shape, generator=generator), setting)


def interleave(
    subjects: Sequence[Callable[[], None]],
    *,
    seconds: float,
    warm_up: int = 3,
    min_rounds: int = 5,
    max_rounds: int = 1000,
    seed: int = 0,
    done: Callable[[int], bool] | None = None,
) -> int:
    """Call every subject once per round, in a new random order each round; return the number of rounds.

    Interleaving lets a machine whose speed drifts be fair to all. Rounds end when ``seconds`` have passed
    or ``done(rounds)`` says so, but never before ``min_rounds``.
    """
    rng = random.Random(seed)
    order = list(range(len(subjects)))
    for _ in range(warm_up):
        for subject in subjects:
            subject()
    end = time.monotonic() + seconds
    rounds = 0
    while rounds < max_rounds and (rounds < min_rounds or time.monotonic() < end):
        rng.shuffle(order)
        for i in order:
            subjects[i]()
        rounds += 1
        if rounds >= min_rounds and done is not None and done(rounds):
            break
    return rounds
