"""Record what a compact form executes: its operators, with their work and the memory they touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Operator:
    """One call of an operator.

    Attributes:
        name: The operator, such as ``aten.convolution``.
        macs: Multiply-accumulates.
        moved_bytes: Bytes of the tensors it reads and writes.
    """

    name: str
    macs: int
    moved_bytes: int


def record_operators(form: nn.Module, x: torch.Tensor) -> tuple[Operator, ...]:
    """Run ``form`` once on ``x``, ``[N, C, H, W]``, and return its operators in order; views do no work."""
    with torch.no_grad(), _Recorder() as recorder:
        form(x)
    return tuple(recorder.operators)


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
            self.operators.append(Operator(str(packet), macs, moved))
        return out
