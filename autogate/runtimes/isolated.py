"""Networks that run in a process of their own, which holds one runtime, one setting and nothing else.

Two runtimes in one process keep threads on the same cores that wait for each other: what is measured there is wrong by
up to a half.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.utils.weak import WeakTensorKeyDictionary

from autogate.errors import DeviceError
from autogate.gates import get_family
from autogate.policy import Gate
from autogate.records import Site
from autogate.runtimes.onnx_file import OUTPUT, write_nothing, write_onnx
from autogate.runtimes.onnx_units import OnnxUnits
from autogate.runtimes.quantised import INT8, quantise
from autogate.runtimes.runtime import Runtime, TimedRunnable, UnitTimes
from autogate.runtimes.unit_shares import NodesBetween, unit_shares

_PROGRAM = Path(__file__).with_name("isolated_child.py")
_LONGEST_REASON = 300
_CALLS = 51


class IsolatedProcess:
    """A process that runs networks in one runtime; it ends when nobody refers to this object any more.

    Args:
        engine: Name of the runtime, as :mod:`autogate.runtimes.isolated_child` knows it.
        threads: CPU threads of a network.
        dtype: Element type that networks compute in.
    """

    def __init__(self, engine: str, threads: int, dtype: str = "float32") -> None:
        self.engine = engine
        self.folder = tempfile.TemporaryDirectory(prefix="autogate-runtime-")
        self._errors = (Path(self.folder.name) / "errors").open("w+", encoding="utf-8", errors="replace")
        # Isolated from this process's paths and variables: what runs there is what users deploy.
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", str(_PROGRAM), engine, str(threads), dtype],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )
        self._end = weakref.finalize(self, _end, self._process, self._errors, self.folder)
        self._inputs = WeakTensorKeyDictionary()
        # Numbers of networks and of inputs that nobody refers to any more; they go before the next one comes.
        self.unneeded: list[int] = []
        self._unneeded_inputs: list[int] = []

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            DeviceError: If the runtime fails, or its process has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - pipes
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            said = " ".join(self._errors.read().split())[-_LONGEST_REASON:]
            raise DeviceError(f"the process of runtime {self.engine} ended: {said or self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DeviceError(str(answer["error"])[:_LONGEST_REASON])
        return answer

    def load(self, path: Path) -> int:
        """Load the network in a file; return its number."""
        while self.unneeded:
            self.ask(unload=self.unneeded.pop())
        return int(self.ask(load=str(path))["index"])

    @cached_property
    def call_ms(self) -> float:
        """What a pass of a network takes that computes nothing, in milliseconds."""
        path = self.new_path(".onnx")
        write_nothing(path)
        network, x = IsolatedNetwork(self, path), torch.zeros(1)
        path.unlink()
        return statistics.median(network.time_ms(x) for _ in range(_CALLS))

    def input_of(self, x: torch.Tensor) -> int:
        """Send an input over, unless it is there already; return its number."""
        if x in self._inputs:
            return int(self._inputs[x])
        while self._unneeded_inputs:
            self.ask(forget=self._unneeded_inputs.pop())
        path = self.new_path(".npy")
        np.save(path, x.detach().numpy())
        number = int(self.ask(input=str(path))["index"])
        path.unlink()
        self._inputs[x] = number
        weakref.finalize(x, self._unneeded_inputs.append, number).atexit = False
        return number

    def new_path(self, suffix: str) -> Path:
        """Return the path of a file that is not there yet; it goes with the process."""
        return Path(tempfile.mktemp(suffix=suffix, dir=self.folder.name))  # noqa: S306 - a folder of our own


def _end(process: subprocess.Popen[str], errors: Any, folder: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, errors):
        with suppress(BrokenPipeError):  # what was written last has no reader
            if stream is not None:
                stream.close()
    folder.cleanup()


class IsolatedNetwork:
    """A network in a process that runs it.

    Args:
        process: The process.
        path: Its file.
    """

    def __init__(self, process: IsolatedProcess, path: Path) -> None:
        self._process = process
        self._number = process.load(path)
        weakref.finalize(self, process.unneeded.append, self._number).atexit = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return what the network gives for an input batch: its only tensor, or all by their places."""
        to = self._process.new_path(".npz")
        self._process.ask(run=self._number, input=self._process.input_of(x), to=str(to))
        with np.load(to, allow_pickle=False) as arrays:
            found = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        to.unlink()
        return found[OUTPUT] if found.keys() == {OUTPUT} else found

    def time_ms(self, x: torch.Tensor) -> float:
        """Run the network twice, and return the milliseconds that the second pass took in its process."""
        return float(self._process.ask(time=self._number, input=self._process.input_of(x))["ms"])

    def nodes(self, path: Path, x: torch.Tensor) -> tuple[list[NodesBetween], float]:
        """Return what nodes take by the runtime's own clock, and what a pass takes, in milliseconds.

        Args:
            path: The network's file, in which nodes are named for their units.
            x: An input batch, ``[N, C, H, W]``.
        """
        answer = self._process.ask(
            profile=str(path), beside=self._number, input=self._process.input_of(x), to=self._process.folder.name
        )
        return [NodesBetween(*row) for row in answer["nodes"]], float(answer["ms"])


class IsolatedUnits:
    """A compact network in a process that runs it, of which each unit's share of a pass is known.

    Args:
        process: The process.
        path: Its file, in which nodes are named for their units.
        x: An input batch, ``[N, C, H, W]``.
    """

    def __init__(self, process: IsolatedProcess, path: Path, x: torch.Tensor) -> None:
        self._network = IsolatedNetwork(process, path)
        nodes, pass_ms = self._network.nodes(path, x)
        self._shares = unit_shares(nodes, pass_ms, process.call_ms)

    def time_ms(self, x: torch.Tensor) -> UnitTimes:
        """Run the network twice; return what the second pass took."""
        whole_ms, shares = self._network.time_ms(x), self._shares
        units_ms, entries_ms = (
            {i: share * whole_ms for i, share in of.items()} for of in (shares.units, shares.entries)
        )
        return UnitTimes(whole_ms, units_ms, entries_ms)


class IsolatedRuntime(Runtime):
    """A runtime that reads ONNX files, in a process of its own.

    Networks that are prepared one after the other with the same number of threads share a process, so that they can be
    timed against each other.
    """

    needs_eager_units = False
    isolated = True
    fuses_units = True
    builds_slowly = True
    dtypes = frozenset({"float32", INT8})
    layouts = frozenset({"contiguous"})
    _units: OnnxUnits | None = None

    def __init__(self, dtype: str = "float32") -> None:
        self._dtype = dtype
        self._others: dict[str, IsolatedRuntime] = {}
        self._latest: weakref.ref[IsolatedProcess] | None = None
        self._threads = 0

    def prepare(self, module: nn.Module, example: torch.Tensor) -> TimedRunnable:
        """Write the module as an ONNX file, and load it in the process."""
        process = self._process()
        path = process.new_path(".onnx")
        write_onnx(module, example, path)
        with self._file_of(path, process, example) as file:
            return IsolatedNetwork(process, file)

    def load(self, path: Path) -> IsolatedNetwork:
        """Load a network that lies in a file, in the process."""
        return IsolatedNetwork(self._process(), path)

    def convert(self, path: Path, to: Path) -> None:
        """Write an ONNX file in the runtime's own format."""
        self._process().ask(convert=str(path), to=str(to))

    def time_by_unit(self, compact: fx.GraphModule, example: torch.Tensor) -> IsolatedUnits:
        """Join the network of units that were exported once; the runtime's own profile gives the share of each."""
        process = self._process()
        path = self._kept_units().write(compact, example)
        with self._file_of(path, process, example) as file:
            return IsolatedUnits(process, file, example)

    def of_dtype(self, dtype: str) -> IsolatedRuntime:
        """Return the runtime itself, or the one that computes in another type, or quantises what it prepares."""
        if dtype == self._dtype:
            return self
        if dtype not in self._others:
            self._others[dtype] = type(self)(dtype)
        return self._others[dtype]

    @contextmanager
    def _file_of(self, path: Path, process: IsolatedProcess, example: torch.Tensor) -> Iterator[Path]:
        """Enter with the file to run, and remove it afterwards.

        How fast a quantised network is does not depend on what it was calibrated with.
        """
        file = process.new_path(".onnx") if self._dtype == INT8 else path
        try:
            if self._dtype == INT8:
                quantise(path, file, example, len(example))
            yield file
        finally:
            path.unlink()
            file.unlink(missing_ok=True)

    def prepare_all(self, compacts: Iterable[fx.GraphModule], example: torch.Tensor) -> None:
        """Export the units of all networks that are not known yet."""
        self._kept_units().export_ahead(compacts, example)

    def _kept_units(self) -> OnnxUnits:
        """Return what exports units; all runtimes here read the same files."""
        units = IsolatedRuntime._units
        if units is None or units.is_full:
            units = IsolatedRuntime._units = OnnxUnits()
        return units

    def no_saving_reason(self, gate: Gate, site: Site, batch_size: int) -> str | None:
        """A file has no branches of its own for each image of a batch."""
        if get_family(gate.family).varies and batch_size > 1:
            return f"decides per image, which a file for {self.name} cannot at batch {batch_size}"
        return super().no_saving_reason(gate, site, batch_size)

    def unsupported_reason(self, device: torch.device) -> str | None:
        """Only CPUs are known here."""
        return None if device.type == "cpu" else f"runtime {self.name} runs on the CPU here, not on {device}"

    def versions(self) -> dict[str, str]:
        """Return the version of what runs the networks; what wrote their files makes them no faster."""
        return {package: version for package, version in super().versions().items() if package == self.name}

    def _process(self) -> IsolatedProcess:
        threads = torch.get_num_threads()
        process = self._latest() if self._latest is not None and self._threads == threads else None
        if process is None:
            process = IsolatedProcess(self.name, threads, self._dtype)
            self._latest, self._threads = weakref.ref(process), threads
        return process
