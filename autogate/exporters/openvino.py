"""``openvino``: the network in OpenVINO's own format."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autogate.exporters.exporter import Deliverable, Exporter, Loaded
from autogate.exporters.onnx import write_deliverable
from autogate.exporters.registry import register_exporter
from autogate.gates import get_family
from autogate.policy import Policy
from autogate.runtimes import isolated_runtime

MODEL_FILE, WEIGHTS_FILE = "model.xml", "model.bin"


@register_exporter
class OpenVino(Exporter):
    """Write ``model.xml`` and ``model.bin``, by way of ONNX; weights are in float32, or in eight bits."""

    name = "openvino"
    quantises = True
    files = (MODEL_FILE, WEIGHTS_FILE)
    runtimes = ("openvino",)
    rounds_alike = False
    packages = {"onnx": "onnx", "onnxscript": "onnxscript", "openvino": "openvino"}

    def unsupported_reason(self, policy: Policy, batch_size: int) -> str | None:
        """A program has no branches for each image of a batch, and its convolutions a fixed number of channels."""
        for site, gate in policy:
            if not get_family(gate.family).varies:
                continue
            if batch_size > 1:
                return f"{gate.family} at {site} decides per image, which a file of batch {batch_size} cannot"
            if site.startswith("map:"):
                return f"{gate.family} at {site} opens another number of channels for each image, which OpenVINO cannot"
        return None

    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        """Write both files, and say which batch sizes they take."""
        with tempfile.TemporaryDirectory() as draft:
            path = Path(draft) / "model.onnx"
            batch = write_deliverable(item, path)
            isolated_runtime("openvino").convert(path, folder / MODEL_FILE)
        return {"batch": batch}

    def load(self, folder: Path) -> Loaded:
        """Load the files in OpenVINO, in a process that knows neither AutoGate nor PyTorch."""
        return isolated_runtime("openvino").load(folder / MODEL_FILE)
