"""What a compact form executes, and how long that takes at the limits of the device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from autogate.records import DeviceCard, Operator, Setting
from autogate.surgery import UNIT


def record_operators(form: nn.Module, x: torch.Tensor) -> tuple[Operator, ...]:
    """Run ``form`` once on ``x``, ``[N, C, H, W]``, and return its operators in order; views do no work."""
    with torch.no_grad(), _Recorder() as recorder:
        form(x)
    return tuple(recorder.operators)


def operators_by_unit(compact: fx.GraphModule, x: torch.Tensor) -> dict[int, tuple[Operator, ...]]:
    """Run a compact form once on ``x`` and return the operators of each of its units."""
    found: dict[int, list[Operator]] = defaultdict(list)

    class Interpreter(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            with _Recorder() as recorder:
                value = super().run_node(n)
            if UNIT in n.meta:
                found[int(n.meta[UNIT])] += recorder.operators
            return value

    with torch.no_grad():
        Interpreter(compact).run(x)
    return {unit: tuple(operators) for unit, operators in found.items()}


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view:
            packet = func.overloadpacket
            count = flop_registry.get(packet)
            macs = 0 if count is None else int(count(*args, **kwargs, out_val=out)) // 2
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
            moved = sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())
            inputs, outputs = _widths(args) if macs else (0, 0)
            self.operators.append(Operator(str(packet), macs, moved, inputs, outputs))
        return out


def _widths(args: Sequence[Any]) -> tuple[int, int]:
    """Return input channels per group, and output channels, of a convolution or a matrix product."""
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.dim() >= 2]
    last = tensors[-1].shape
    # A convolution's weight is [out, in, ...]; the second factor of a product [in, out].
    return (int(last[1]), int(last[0])) if len(last) > 3 else (int(last[-2]), int(last[-1]))


Regime = Literal["compute-bound", "bandwidth-bound", "launch-bound"]


@dataclass(frozen=True)
class Roofline:
    """Times at the device's limits, in milliseconds; each operator counts for the limit that binds it.

    Attributes:
        compute_ms: Operators bound by arithmetic.
        bandwidth_ms: Operators bound by memory.
        launch_ms: Operators that take no longer than the smallest one.
    """

    compute_ms: float
    bandwidth_ms: float
    launch_ms: float

    @property
    def total_ms(self) -> float:
        """Sum over all operators."""
        return self.compute_ms + self.bandwidth_ms + self.launch_ms

    @property
    def regime(self) -> Regime:
        """The limit that binds most of the time."""
        times: dict[Regime, float] = {
            "compute-bound": self.compute_ms,
            "bandwidth-bound": self.bandwidth_ms,
            "launch-bound": self.launch_ms,
        }
        return max(times, key=times.__getitem__)


def sum_of(parts: Iterable[tuple[Roofline, float]]) -> Roofline:
    """Return the sum of rooflines, each scaled to a total time in milliseconds."""
    compute = bandwidth = launch = 0.0
    for part, ms in parts:
        scale = ms / part.total_ms if part.total_ms else 0.0
        compute += scale * part.compute_ms
        bandwidth += scale * part.bandwidth_ms
        launch += scale * part.launch_ms
    return Roofline(compute, bandwidth, launch)


def roofline(operators: Sequence[Operator], card: DeviceCard, setting: Setting) -> Roofline:
    """Return the times of operators at the limits that the device card knows."""
    bound = [0.0, 0.0, 0.0]
    for operator in operators:
        limits = (
            2 * operator.macs / (card.matmul_tflops.get(setting.dtype, card.matmul_tflops["float32"]) * 1e9),
            operator.moved_bytes / (card.copy_gb_per_s * 1e6),
            card.launch_us * 1e-3,
        )
        slowest = max(limits)
        bound[limits.index(slowest)] += slowest
    return Roofline(*bound)
