"""Ways to run a network: operator by operator, as one CUDA graph, or compiled by Inductor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from autogate.errors import DeviceError
from autogate.gates import get_family
from autogate.policy import Gate
from autogate.records import Setting, Site
from autogate.system import one_line

RUNTIMES = ("eager", "cuda_graph", "compiled")
Runnable = Callable[[torch.Tensor], object]
_WARM_UP_PASSES = 3


def no_saving_reason(gate: Gate, site: Site, batch_size: int, runtime: str) -> str | None:
    """Return why a gate can save nothing at a site, on whatever device; None if it may."""
    family = get_family(gate.family)
    if runtime == "cuda_graph" and family.varies:
        return "decides on data, and a CUDA graph runs the same operators every time"
    return family.no_saving_reason(site, batch_size)


def runnable(module: nn.Module, x: torch.Tensor, setting: Setting) -> Runnable:
    """Return what runs ``module`` in the setting's runtime, ready for inputs like ``x``, ``[N, C, H, W]``.

    Raises:
        DeviceError: If the network cannot be compiled or captured here.
    """
    if setting.runtime == "eager":
        return module
    make = _compiled if setting.runtime == "compiled" else _Graph
    try:
        return make(module, x)
    except Exception as error:  # compilers and drivers raise what they like
        reason = one_line(error)
        raise DeviceError(f"the network cannot run as {setting.runtime}: {reason}; use --runtime eager") from None


def _compiled(module: nn.Module, x: torch.Tensor) -> Runnable:
    run: Runnable = torch.compile(module, dynamic=False)
    run(x)
    return run


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
