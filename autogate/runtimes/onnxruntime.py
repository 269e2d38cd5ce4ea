"""``onnxruntime``: ONNX Runtime, in a process of its own."""

from __future__ import annotations

from autogate.runtimes.isolated import IsolatedRuntime
from autogate.runtimes.registry import register_runtime


@register_runtime
class OnnxRuntime(IsolatedRuntime):
    """Run networks in ONNX Runtime on the CPU; its threads sleep between passes."""

    name = "onnxruntime"
    packages = {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"}
