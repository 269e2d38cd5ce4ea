"""``inductor``: compiled ahead of time by Inductor, as an AOTInductor package."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

from autogate.errors import DeviceError
from autogate.runtimes.inductor_package import load_package, write_package
from autogate.runtimes.registry import register_runtime
from autogate.runtimes.runtime import Runnable, Runtime
from autogate.sites import difference

_TOLERANCE = 1e-3
_COMPILERS = ("g++", "clang++", "c++")


@register_runtime
class Inductor(Runtime):
    """Run what Inductor makes of the module: one library, loaded without Python's part of the compiler.

    Inductor fuses operators across units, and takes many seconds for each network, so that a latency composed of units
    says nothing of it.
    """

    name = "inductor"
    profiles_networks = False

    def unsupported_reason(self, device: torch.device) -> str | None:
        """Inductor writes C++."""
        if any(shutil.which(compiler) for compiler in _COMPILERS):
            return None
        return "runtime inductor needs a C++ compiler; install one, such as with `apt install g++`"

    def prepare(self, module: nn.Module, example: torch.Tensor) -> Runnable:
        """Compile the module for this shape, and load the package."""
        with tempfile.TemporaryDirectory(prefix="autogate-inductor-") as folder:
            path = Path(folder) / "network.pt2"
            write_package(module, example, path)
            run = load_package(path)
        with torch.no_grad():
            if (apart := difference(run(example), module(example), _TOLERANCE)) is not None:
                # So it is with branches that are chosen while the network runs (torch 2.14).
                raise DeviceError(f"Inductor computes something else than the network does: {apart}")
        return run
