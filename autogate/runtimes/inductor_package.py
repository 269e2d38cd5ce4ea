"""Packages of AOTInductor: what Inductor compiles of a program, in a file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import nn

from autogate.runtimes.runtime import Runnable


def write_package(module: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Compile a network into an AOTInductor package, for as many threads as PyTorch has now.

    Args:
        module: The network, in evaluation mode.
        example: An input batch, ``[N, C, H, W]``; the package takes no other shape.
        path: The file to write. Any exception of the compiler means that it cannot be compiled.
    """
    with warnings.catch_warnings(), torch.no_grad(), _quiet():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (example,), strict=False)
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def load_package(path: Path) -> Runnable:
    """Load a package; it is unpacked elsewhere, and may go."""
    return cast(Runnable, torch._inductor.aoti_load_package(str(path)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the compiler says of its own working; errors are raised all the same."""
    logger = logging.getLogger("torch._inductor")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
