"""``onnx``: one ONNX file, which ONNX Runtime and many others read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autogate.errors import ExportError
from autogate.exporters.exporter import Deliverable, Exporter, Loaded, varying_gate
from autogate.exporters.registry import register_exporter
from autogate.policy import Policy
from autogate.runtimes import isolated_runtime, quantise, write_onnx
from autogate.surgery import decides_on_data
from autogate.system import one_line

ONNX_FILE = "model.onnx"


@register_exporter
class Onnx(Exporter):
    """Write ``model.onnx``: input ``images``, output ``logits``, nodes named for their modules.

    Policy, preprocessing and number of classes stand in the file. Static policies leave the batch free; gates that
    choose per image are exported for the batch size they were searched at, those that branch with ``If``.
    """

    name = "onnx"
    quantises = True
    files = (ONNX_FILE,)
    runtimes = ("onnxruntime",)
    rounds_alike = False
    packages = {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"}

    def unsupported_reason(self, policy: Policy, batch_size: int) -> str | None:
        """A file has no branches of its own for each image of a batch."""
        varying = varying_gate(policy)
        if varying is None or batch_size == 1:
            return None
        return f"{varying} decides per image, which a file of batch {batch_size} cannot; search with --batch-size 1"

    def write(self, item: Deliverable, folder: Path) -> Mapping[str, Any]:
        """Write the file, and say which batch sizes it takes."""
        return {"batch": write_deliverable(item, folder / ONNX_FILE)}

    def load(self, folder: Path) -> Loaded:
        """Load the file in ONNX Runtime, in a process that knows neither AutoGate nor PyTorch."""
        return isolated_runtime("onnxruntime").load(folder / ONNX_FILE)


def write_deliverable(item: Deliverable, path: Path) -> str | int:
    """Write a network as an ONNX file, and return the batch size that it takes: ``any``, or a number.

    It is in eight bits if there are images to calibrate it with.

    Raises:
        ExportError: If the network cannot be expressed.
    """
    any_batch = not decides_on_data(item.policy)
    facts = {
        "autogate.policy": json.dumps(item.policy.to_json()),
        "autogate.policy_digest": item.policy.digest,
        "autogate.preprocessing": json.dumps(item.preprocessing.to_json()),
        "autogate.num_classes": str(item.num_classes),
    }
    example = item.batch(0, 2 if any_batch else item.batch_size)
    try:
        write_onnx(item.compact, example, path, any_batch=any_batch, facts=facts)
    except Exception as error:  # the exporter raises many kinds; all mean that this network cannot be expressed
        raise ExportError(f"torch.onnx refuses this network: {one_line(error)}") from error
    if item.calibration is not None:
        quantise(path, path, item.calibration, None if any_batch else item.batch_size)
    return "any" if any_batch else item.batch_size
