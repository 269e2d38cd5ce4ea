"""Time exported networks again, in the runtime they were exported for, knowing nothing of AutoGate.

    python benchmarks/timed_again.py EXPORT [EXPORT ...] [--seconds S]

Each export is timed in a process of its own: passes follow each other on the images that lie in the export, with the
threads that its report names. Prints JSON: for each export the budget, and what its network takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

_WARM_UP_S = 1.0


def main() -> None:
    """Time every export, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(_timed(asked.exports[0], asked.seconds)))
        return
    rows = []
    for export in asked.exports:
        command = [sys.executable, __file__, str(export), "--seconds", str(asked.seconds), "--here"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this program
        rows.append(json.loads(done.stdout))
        print(export, rows[-1], file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))


def _timed(export: Path, seconds: float) -> dict[str, Any]:
    report = json.loads((export / "report.json").read_text(encoding="utf-8"))
    setting = report["setting"]
    size, threads = setting["batch_size"], setting["threads"]
    images = load_file(str(export / "inputs.safetensors"))["images"]
    batches = [np.ascontiguousarray(images[i : i + size]) for i in range(0, len(images) - size + 1, size)]
    run = {"onnxruntime": _onnxruntime, "openvino": _openvino}[setting["runtime"]](export, threads)
    end_s = time.perf_counter() + _WARM_UP_S
    while time.perf_counter() < end_s:
        run(batches[0])
    times_ms: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        start_s = time.perf_counter()
        run(batches[len(times_ms) % len(batches)])
        times_ms.append(1e3 * (time.perf_counter() - start_s))
    assert "autogate" not in sys.modules
    deciles = statistics.quantiles(times_ms, n=100)
    return {
        "export": export.name,
        "runtime": setting["runtime"],
        "dtype": setting["dtype"],
        "model": report["model"],
        "budget_ms": report["result"]["budget_ms"],
        "measured_ms": report["result"]["measured_ms"]["p95"],
        "p50_ms": statistics.median(times_ms),
        "p90_ms": deciles[89],
        "passes": len(times_ms),
    }


def _onnxruntime(export: Path, threads: int) -> Callable[[np.ndarray], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(export / "model.onnx"), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def _openvino(export: Path, threads: int) -> Callable[[np.ndarray], object]:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(export / "model.xml"), "CPU", settings).create_infer_request()

    def run(x: np.ndarray) -> object:
        request.set_input_tensor(openvino.Tensor(x))
        request.infer()
        return request.get_output_tensor().data

    return run


if __name__ == "__main__":
    main()
