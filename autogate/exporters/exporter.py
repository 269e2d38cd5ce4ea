"""What an exporter is: a file format in which a finished network is written, and loaded again to verify it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from autogate.gates import get_family
from autogate.policy import Policy
from autogate.records import Preprocessing
from autogate.system import missing_packages

SCHEMA = "autogate.export/1"
POLICY_FILE, WEIGHTS_FILE, INPUTS_FILE, REPORT_FILE = BASE_FILES = (
    "policy.json",
    "model.safetensors",
    "inputs.safetensors",
    "report.json",
)
"""What every export holds, whatever its formats."""

Loaded = Callable[[torch.Tensor], Any]
"""A network that was loaded from an export: images, float32 ``[N, C, H, W]``, to what the network returns."""


@dataclass(frozen=True)
class Deliverable:
    """What is to be exported.

    Attributes:
        compact: The compact network, in evaluation mode on the CPU.
        policy: Its policy.
        model: The dense network's name, as it can be loaded again.
        num_classes: Outputs of the classifier; None where targets are no classes.
        preprocessing: How an image becomes an input.
        batch_size: Images per call.
        images: Real preprocessed images, float32 ``[N, C, H, W]``, to verify with.
        report: What is known about it: numbers with their identity.
        dense: The dense network, if it cannot be loaded by name.
        score_output: Place of the class scores in what the network returns; None for the only tensor.
        own_task: Whether training and score are the caller's, so that nothing is known of what the network returns.
        labels: Class of each image, int64 ``[N]``; None where targets are no classes.
        calibration: Images that show how large activations become, float32 ``[N, C, H, W]``, if formats that can are to
            hold the network in eight bits; else None.
    """

    compact: nn.Module
    policy: Policy
    model: str
    num_classes: int | None
    preprocessing: Preprocessing
    batch_size: int
    images: torch.Tensor
    report: Mapping[str, Any]
    dense: nn.Module | None = None
    score_output: str | None = None
    own_task: bool = False
    labels: torch.Tensor | None = None
    calibration: torch.Tensor | None = None

    def batch(self, start: int, size: int) -> torch.Tensor:
        """Return ``size`` images from ``start`` on, ``[size, C, H, W]``; after the last one comes the first again."""
        return self.images[torch.arange(start, start + size) % len(self.images)]


class Exporter(ABC):
    """A file format for finished networks.

    Attributes:
        name: Name by which it is asked for.
        files: Names of the files, or folders, that it writes into the export's directory; those of
            :data:`BASE_FILES` are taken.
        packages: What must be installed for it: name to import to name to install with pip.
        quantises: Whether it holds a network in eight bits if that is asked for; others stay in float32.
        runtimes: Names of the runtimes that it is written for; the first format of a study's runtime is its usual one.
        rounds_alike: Whether the loaded network rounds as the live one does, since it runs the same kernels.
        tolerance: Largest difference allowed between logits of the loaded network and of the live one; for a task of
            the caller's own, relative to the largest value of an output above 1.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    packages: ClassVar[Mapping[str, str]] = {}
    runtimes: ClassVar[tuple[str, ...]] = ()
    quantises: ClassVar[bool] = False
    rounds_alike: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-4

    def unsupported_reason(self, policy: Policy, batch_size: int) -> str | None:
        """Return why a network with these gates cannot be written for this batch size, or None if it can."""
        return None

    @abstractmethod
    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        """Write ``item`` into ``folder``, and return JSON-ready facts for the report, such as the batch sizes it takes.

        Raises:
            ExportError: If the network cannot be expressed. Any other exception is reported in one line too.
        """

    @abstractmethod
    def load(self, folder: Path) -> Loaded:
        """Load what :meth:`write` wrote, in the format's own runtime; it is called with ``batch_size`` images.

        Policy, weights and report are in the folder by then.
        """

    def missing_reason(self) -> str | None:
        """Return which packages are missing, and how to install them; None if there are all."""
        return missing_packages(f"format {self.name}", self.packages)


def varying_gate(policy: Policy) -> str | None:
    """Name a gate whose cost depends on the image, and its site; None if there is none."""
    return next((f"{gate.family} at {site}" for site, gate in policy if get_family(gate.family).varies), None)
