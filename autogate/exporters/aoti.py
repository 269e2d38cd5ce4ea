"""``aoti``: the network as an AOTInductor package, compiled for this kind of machine; C++ loads it, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from autogate.errors import ExportError
from autogate.exporters.exporter import Deliverable, Exporter, Loaded, varying_gate
from autogate.exporters.registry import register_exporter
from autogate.policy import Policy
from autogate.runtimes import get_runtime, load_package, write_package
from autogate.system import one_line

PACKAGE_FILE = "model.aoti.pt2"


@register_exporter
class Aoti(Exporter):
    """Write ``model.aoti.pt2``, for the batch size and the number of threads it was searched with."""

    name = "aoti"
    files = (PACKAGE_FILE,)
    runtimes = ("inductor",)
    rounds_alike = False

    def unsupported_reason(self, policy: Policy, batch_size: int) -> str | None:
        """Inductor compiles no branches that are chosen while the network runs."""
        varying = varying_gate(policy)
        return None if varying is None else f"{varying} decides while the network runs, which Inductor does not compile"

    def missing_reason(self) -> str | None:
        """A compiler may be missing."""
        return super().missing_reason() or get_runtime("inductor").unsupported_reason(torch.device("cpu"))

    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        """Compile the network."""
        try:
            write_package(item.compact, item.batch(0, item.batch_size), folder / PACKAGE_FILE)
        except Exception as error:  # the compiler raises many kinds; all mean that this network cannot be compiled
            raise ExportError(f"Inductor refuses this network: {one_line(error)}") from error
        return {"batch": item.batch_size, "threads": torch.get_num_threads()}

    def load(self, folder: Path) -> Loaded:
        """Load the package."""
        return cast(Loaded, load_package(folder / PACKAGE_FILE))
