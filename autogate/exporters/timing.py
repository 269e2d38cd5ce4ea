"""Time what was exported, as it was written, beside the dense network in the same format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autogate.exporters.exporter import Deliverable, Exporter, Loaded
from autogate.latency.hardware import DTYPES, exclusive_inference, setting_of
from autogate.latency.timing import compare_runs
from autogate.policy import DENSE
from autogate.records import Setting
from autogate.resources import FIXED_INPUTS, VARYING_INPUTS, policy_varies
from autogate.runtimes import INT8, check_runtime, get_runtime, isolated_runtime

Write = Callable[[Deliverable, Path], Any]
_CPU = torch.device("cpu")


def untimed_reason(exporter: Exporter, searched: Setting) -> str | None:
    """Return why a format is not timed here, or None if it is."""
    if not exporter.runtimes:
        return "it names no runtime"
    if torch.device(searched.device).type != "cpu":
        return f"the study is for {searched.device}; measure it there with `autogate measure`"
    return None


def time_beside_dense(
    item: Deliverable,
    dense: nn.Module,
    exporter: Exporter,
    folder: Path,
    write: Write,
    searched: Setting,
    seconds: float,
) -> dict[str, Any]:
    """Time a written network and its dense twin, interleaved, in the format's own runtime; return a JSON-ready record.

    Args:
        item: What was written.
        dense: The compact dense network, whose weights do not matter.
        exporter: The format.
        folder: Where it was written.
        write: Writes an export into a folder.
        searched: How the network was searched for; its threads and batch size are used.
        seconds: Longest time to spend on passes.

    Raises:
        DeviceError: If the runtime cannot run here.
        ExportError: If the dense network cannot be written.
    """
    [runtime, *_] = exporter.runtimes
    check_runtime(runtime, _CPU)
    setting = setting_of(
        _CPU,
        batch_size=item.batch_size,
        dtype=_dtype(item, exporter, runtime, searched),
        layout="contiguous",
        threads=searched.threads,
        runtime=runtime,
    )
    varies = policy_varies(item.policy)
    starts = range(0, len(item.images), item.batch_size)
    inputs = [item.batch(start, item.batch_size) for start in starts][: VARYING_INPUTS if varies else FIXED_INPUTS]
    with tempfile.TemporaryDirectory() as twin:
        write(replace(item, compact=dense, policy=DENSE), Path(twin))
        with exclusive_inference(setting):
            runs = _loaded(exporter, Path(twin), setting), _loaded(exporter, folder, setting)
            found = compare_runs(runs, inputs, setting, varies=varies, stat="p50", seconds=seconds)
    low, high = found.ratio_interval
    is_faster, is_slower = high < 1, low > 1
    return {**found.to_json(), "gated_is": "faster" if is_faster else "slower" if is_slower else "as fast"}


def _dtype(item: Deliverable, exporter: Exporter, runtime: str, searched: Setting) -> str:
    """Return the element type to time a format in: that of the search, if the search was for its runtime."""
    if exporter.quantises and item.calibration is not None:
        return INT8
    return searched.dtype if runtime == searched.runtime and get_runtime(runtime).isolated else "float32"


def _loaded(exporter: Exporter, folder: Path, setting: Setting) -> Loaded:
    """Load a format; that it computes in half precision is the runtime's doing, and not in the file."""
    if setting.dtype in DTYPES and setting.dtype != "float32":
        return isolated_runtime(setting.runtime).of_dtype(setting.dtype).load(folder / exporter.files[0])
    return exporter.load(folder)
