"""``openvino``: OpenVINO, in a process of its own."""

from __future__ import annotations

from autogate.gates import get_family
from autogate.policy import Gate
from autogate.records import Site
from autogate.runtimes.isolated import IsolatedRuntime
from autogate.runtimes.registry import register_runtime


@register_runtime
class OpenVino(IsolatedRuntime):
    """Run networks in OpenVINO on the CPU, in no other element type than the one that is asked for."""

    name = "openvino"
    dtypes = IsolatedRuntime.dtypes | {"bfloat16", "float16"}
    packages = {"onnx": "onnx", "onnxscript": "onnxscript", "openvino": "openvino"}

    def no_saving_reason(self, gate: Gate, site: Site, batch_size: int) -> str | None:
        """A convolution there has a fixed number of channels."""
        if site.kind == "map" and get_family(gate.family).varies:
            return "opens another number of channels for each image, and OpenVINO's convolutions have a fixed one"
        return super().no_saving_reason(gate, site, batch_size)
