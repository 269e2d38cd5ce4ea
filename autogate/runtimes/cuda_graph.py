"""``cuda_graph``: all kernels of a network, captured once and launched together."""

from __future__ import annotations

import torch
from torch import nn

from autogate.gates import get_family
from autogate.policy import Gate
from autogate.records import Site
from autogate.runtimes.registry import register_runtime
from autogate.runtimes.runtime import Runnable, Runtime

_WARM_UP_PASSES = 3


@register_runtime
class CudaGraph(Runtime):
    """Replay the kernels of one pass."""

    name = "cuda_graph"
    waits_for_data = False

    def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
        """Capture one pass, after a few that warm up."""
        return _Graph(module, example)

    def unsupported_reason(self, device: torch.device) -> str | None:
        """Only GPUs have graphs."""
        return None if device.type == "cuda" else f"a CUDA graph runs on a GPU, not on {device}"

    def no_saving_reason(self, gate: Gate, site: Site, batch_size: int) -> str | None:
        """A gate that decides on data cannot leave anything out of a graph."""
        if get_family(gate.family).varies:
            return "decides on data, and a CUDA graph runs the same operators every time"
        return super().no_saving_reason(gate, site, batch_size)


class _Graph:
    """A network captured as a CUDA graph; inputs are copied to where it reads them."""

    def __init__(self, module: nn.Module, x: torch.Tensor) -> None:
        self._input = x.clone(memory_format=torch.preserve_format)
        stream = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_PASSES):
                module(self._input)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = module(self._input)

    def __call__(self, x: torch.Tensor) -> object:
        self._input.copy_(x)
        self._graph.replay()
        return self._output
