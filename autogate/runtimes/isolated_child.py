"""Runs networks in a deployed runtime; a program of its own, started in a process that holds nothing else.

Imports neither AutoGate nor PyTorch: their threads would wait on the same cores. Reads one JSON request per line from
standard input and answers each with one JSON line on standard output:

- ``{"load": PATH}`` loads a network, ``{"input": PATH}`` an array of NumPy; the answer has its ``index``.
- ``{"forget": INDEX}`` frees an input.
- ``{"time": NETWORK, "input": INPUT}`` runs a network once; the answer has ``ms``.
- ``{"run": NETWORK, "input": INPUT, "to": PATH}`` runs it once and stores what it returns, arrays by name.
- ``{"convert": PATH, "to": PATH}`` writes a network in the runtime's own format.

An answer with ``error`` says in one line what went wrong.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Network = Callable[[np.ndarray], dict[str, np.ndarray]]


class OnnxRuntime:
    """ONNX Runtime on the CPU; its threads sleep while they have nothing to do."""

    def __init__(self, threads: int) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self._onnxruntime = onnxruntime
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._options.add_session_config_entry("session.set_denormal_as_zero", "0")

    def load(self, path: str) -> Network:
        """Load an ONNX file."""
        session = self._onnxruntime.InferenceSession(path, self._options, providers=["CPUExecutionProvider"])
        name, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
        return lambda images: dict(zip(outputs, session.run(None, {name: images}), strict=True))


class OpenVino:
    """OpenVINO on the CPU, in float32: by itself it would compute in bfloat16 where the CPU can."""

    def __init__(self, threads: int) -> None:
        import openvino

        self._openvino = openvino
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "ENABLE_CPU_PINNING": False,
        }

    def load(self, path: str) -> Network:
        """Load a file of ONNX or of OpenVINO."""
        compiled = self._core.compile_model(self._core.read_model(path), "CPU", self._settings)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT")
        if precision != self._openvino.Type.f32:
            raise RuntimeError(f"OpenVINO computes in {precision.get_type_name()}, though float32 was asked for")
        request = compiled.create_infer_request()
        outputs = [output.any_name for output in compiled.outputs]
        return lambda images: dict(zip(outputs, request.infer([images], share_inputs=True).values(), strict=True))

    def convert(self, path: str, to: str) -> None:
        """Write what is at ``path`` in OpenVINO's format, in float32."""
        self._openvino.save_model(self._core.read_model(path), to, compress_to_fp16=False)


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


class Server:
    """Answers requests.

    Args:
        engine: What runs the networks.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._networks: list[Network] = []
        self._inputs: dict[int, np.ndarray] = {}
        self._count = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked for, and return the answer."""
        if "load" in request:
            self._networks.append(self._engine.load(request["load"]))
            return {"index": len(self._networks) - 1}
        if "forget" in request:
            del self._inputs[request["forget"]]
            return {}
        if "convert" in request:
            self._engine.convert(request["convert"], request["to"])
            return {}
        if "time" in request:
            network, images = self._networks[request["time"]], self._inputs[request["input"]]
            start = time.perf_counter()
            network(images)
            return {"ms": 1000 * (time.perf_counter() - start)}
        if "run" in request:
            np.savez(request["to"], **self._networks[request["run"]](self._inputs[request["input"]]))
            return {}
        self._count += 1
        self._inputs[self._count] = np.load(request["input"], allow_pickle=False)
        return {"index": self._count}


def main() -> None:
    """Answer requests until there are no more."""
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    server = None
    for line in sys.stdin:
        try:
            if server is None:
                server = Server(ENGINES[sys.argv[1]](int(sys.argv[2])))
            found = server.answer(json.loads(line))
        except Exception as error:  # runtimes raise what they like
            found = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
