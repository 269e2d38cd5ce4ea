"""Runs networks in a deployed runtime; a program of its own, started in a process that holds nothing else.

Imports neither AutoGate nor PyTorch: their threads would wait on the same cores. Reads one JSON request per line from
standard input and answers each with one JSON line on standard output:

- ``{"load": PATH}`` loads a network, ``{"input": PATH}`` an array of NumPy; the answer has its ``index``.
- ``{"forget": INDEX}`` frees an input, ``{"unload": INDEX}`` a network.
- ``{"profile": PATH, "beside": NETWORK, "input": INPUT, "to": FOLDER}`` runs a network whose nodes are named ``u0/...``
  and so on for their units, in turns with itself as loaded. The answer has ``nodes``, rows of two units, what the nodes
  between the one and the other take by the runtime's clock in milliseconds, and how many they are; nodes inside a unit
  are between it and itself. It has ``ms`` too, what a pass takes as loaded.
- ``{"time": NETWORK, "input": INPUT}`` runs a network twice, since deployed it runs after itself; the answer has
  ``ms``, what the second pass took.
- ``{"run": NETWORK, "input": INPUT, "to": PATH}`` runs it once and stores what it returns, arrays by name.
- ``{"convert": PATH, "to": PATH}`` writes a network in the runtime's own format.

An answer with ``error`` says in one line what went wrong.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Network = Callable[[np.ndarray], dict[str, np.ndarray]]


class Node(NamedTuple):
    """What ran; ``clocks`` is how often as much as one node's clock costs is in its time."""

    name: str
    ms: float
    clocks: float


# Passes of which the nodes are timed, after some that warm up: as many as can be in a time, or a few.
MOST_PROFILED, LEAST_PROFILED = 15, 5
WARM_UP = 2
PROFILED_S = 0.8
UNIT = re.compile(r"(?:\b|_)u(\d+)/")
# The clock of a node inside another lengthens that by writing down what it saw, too: 9 us instead of 2.
CLOCKS_INSIDE = 4.5
# What OpenVINO calls element types; a network in eight bits is float32 in between.
PRECISIONS = {"float32": "f32", "int8": "f32", "bfloat16": "bf16", "float16": "f16"}
# What OpenVINO writes of a node that runs as a part of another.
FUSED = "undef"


class OnnxRuntime:
    """ONNX Runtime on the CPU, which knows no element type but those in the file; its threads sleep between passes."""

    def __init__(self, threads: int, dtype: str) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        self._onnxruntime = onnxruntime
        self._threads = threads
        self._options = self._made_options()

    def _made_options(self) -> Any:
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = self._onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.set_denormal_as_zero", "0")
        return options

    def load(self, path: str) -> Network:
        """Load an ONNX file."""
        return self._loaded(path, self._options)[0]

    def profile(self, path: str, images: np.ndarray, folder: str, between: Callable[[], None]) -> list[list[Node]]:
        """Return the nodes that ran in each pass, in order; calls ``between`` before each."""
        options = self._made_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        network, session = self._loaded(path, options)
        for _ in profiled_passes():
            between()
            network(images)
            network(images)
        file = Path(session.end_profiling())
        events = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
        spans = [one for one in events if one["name"] == "model_run" or one["name"].endswith("_kernel_time")]
        passes: list[list[Node]] = []
        end_us = 0
        for span in sorted(spans, key=lambda one: (one["ts"], -one["dur"])):
            if span["name"] == "model_run":
                passes.append([])
                end_us = 0
            elif passes and span["ts"] >= end_us:
                passes[-1].append(Node(span["name"], span["dur"] / 1000, 1))
                end_us = span["ts"] + span["dur"]
            elif passes:  # inside a branch, and in the time of the node that branches
                outer = passes[-1][-1]
                passes[-1][-1] = outer._replace(clocks=outer.clocks + CLOCKS_INSIDE)
        return passes[2 * WARM_UP + 1 :: 2]

    def _loaded(self, path: str, options: Any) -> tuple[Network, Any]:
        session = self._onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name, outputs = session.get_inputs()[0].name, [UNIT.sub("", output.name) for output in session.get_outputs()]
        return (lambda images: dict(zip(outputs, session.run(None, {name: images}), strict=True))), session


class OpenVino:
    """OpenVINO on the CPU; what is not quantised is what was asked for: by itself it is bfloat16 where the CPU can."""

    def __init__(self, threads: int, dtype: str) -> None:
        import openvino

        self._openvino = openvino
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "ENABLE_CPU_PINNING": False,
        }

    def load(self, path: str) -> Network:
        """Load a file of ONNX or of OpenVINO."""
        return self._loaded(path, self._settings)[0]

    def profile(self, path: str, images: np.ndarray, folder: str, between: Callable[[], None]) -> list[list[Node]]:
        """Return the nodes that ran in each pass, in order; calls ``between`` before each."""
        network, request = self._loaded(path, {**self._settings, "PERF_COUNT": True})
        passes = []
        for _ in profiled_passes():
            between()
            network(images)
            network(images)
            nodes = [one for one in request.profiling_info if not one.exec_type.startswith(FUSED)]
            passes.append([Node(one.node_name, one.real_time.total_seconds() * 1000, 1) for one in nodes])
        return passes[WARM_UP:]

    def _loaded(self, path: str, settings: dict[str, Any]) -> tuple[Network, Any]:
        compiled = self._core.compile_model(self._core.read_model(path), "CPU", settings)
        precision, asked = compiled.get_property("INFERENCE_PRECISION_HINT"), settings["INFERENCE_PRECISION_HINT"]
        if precision.get_type_name() != asked:
            raise RuntimeError(f"OpenVINO computes in {precision.get_type_name()} on this CPU, and not in {asked}")
        request = compiled.create_infer_request()
        outputs = [UNIT.sub("", output.any_name) for output in compiled.outputs]
        given: list[np.ndarray] = []

        def run(images: np.ndarray) -> dict[str, np.ndarray]:
            if not given or given[0] is not images:
                given[:] = [images]
                request.set_input_tensor(self._openvino.Tensor(images, shared_memory=True))
            # Without arguments: with them, Python takes longer than a small network.
            return dict(zip(outputs, request.infer().values(), strict=True))

        return run, request

    def convert(self, path: str, to: str) -> None:
        """Write what is at ``path`` in OpenVINO's format; weights stay in their element type."""
        self._openvino.save_model(self._core.read_model(path), to, compress_to_fp16=False)


def profiled_passes() -> Iterator[int]:
    """Count passes, those that warm up first, until there are enough."""
    begun = time.perf_counter()
    for number in range(WARM_UP + MOST_PROFILED):
        if number >= WARM_UP + LEAST_PROFILED and time.perf_counter() - begun > PROFILED_S:
            return
        yield number


def by_place(nodes: Sequence[Node]) -> dict[tuple[int, int], Node]:
    """Add up nodes, in the order in which they ran, by the units that they stand between.

    A node with two units in its name stands between these, one with none between those of the nodes around it.
    """
    places: dict[tuple[int, int], Node] = {}

    def add(place: tuple[int, int], node: Node) -> None:
        known = places.get(place, Node("", 0.0, 0))
        places[place] = Node("", known.ms + node.ms, known.clocks + node.clocks)

    before: int | None = None
    waiting: list[Node] = []
    for node in nodes:
        units = [int(unit) for unit in UNIT.findall(node.name)]
        if not units:
            waiting.append(node)
            continue
        for one in waiting:
            add((units[0] if before is None else before, units[0]), one)
        add((units[0], units[-1]), node)
        before, waiting = units[-1], []
    for one in waiting:
        add((before or 0, before or 0), one)
    return places


ENGINES = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}


class Server:
    """Answers requests.

    Args:
        engine: What runs the networks.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._networks: list[Network | None] = []
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
        if "unload" in request:
            self._networks[request["unload"]] = None
            return {}
        if "profile" in request:
            return self._profiled(**request)
        if "convert" in request:
            self._engine.convert(request["convert"], request["to"])
            return {}
        if "time" in request:
            return {"ms": warm_pass_ms(self._network(request["time"]), self._inputs[request["input"]])}
        if "run" in request:
            arrays: dict[str, Any] = dict(self._network(request["run"])(self._inputs[request["input"]]))
            np.savez(request["to"], **arrays)
            return {}
        self._count += 1
        self._inputs[self._count] = np.load(request["input"], allow_pickle=False)
        return {"index": self._count}

    def _network(self, index: int) -> Network:
        network = self._networks[index]
        assert network is not None  # noqa: S101 - nobody asks for what was unloaded
        return network

    def _profiled(self, profile: str, beside: int, input: int, to: str) -> dict[str, Any]:
        network, images, whole_ms = self._network(beside), self._inputs[input], list[float]()
        passes = self._engine.profile(profile, images, to, lambda: whole_ms.append(warm_pass_ms(network, images)))
        found = [by_place(nodes) for nodes in passes]
        rows = []
        for place in dict.fromkeys(place for places in found for place in places):
            nodes = [places[place] for places in found if place in places]
            rows.append([*place, statistics.median(one.ms for one in nodes), max(one.clocks for one in nodes)])
        return {"nodes": rows, "ms": statistics.median(whole_ms[WARM_UP:])}


def warm_pass_ms(network: Network, images: np.ndarray) -> float:
    """Run a network twice, and return the milliseconds that the second pass took."""
    network(images)
    start = time.perf_counter()
    network(images)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Answer requests until there are no more."""
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    server = None
    for line in sys.stdin:
        try:
            if server is None:
                server = Server(ENGINES[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
            found = server.answer(json.loads(line))
        except Exception as error:  # runtimes raise what they like
            found = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
