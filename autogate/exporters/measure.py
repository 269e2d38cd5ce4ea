"""Measure an export beside its dense network, on whatever device is at hand, in one runtime or in all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from autogate.errors import DeviceError
from autogate.exporters.load import Exported
from autogate.latency.hardware import DTYPES, resolve_device, setting_of
from autogate.latency.profile import fastest_layout
from autogate.latency.timing import compare
from autogate.policy import DENSE
from autogate.records import Comparison, LatencyStat, PeakMemory, Setting
from autogate.resources import FIXED_INPUTS, VARYING_INPUTS, energy_beside_dense, peak_memory_bytes, policy_varies
from autogate.runtimes import RUNTIMES, check_runtime, get_runtime
from autogate.system import usable_cores


@dataclass(frozen=True)
class MeasuringOptions:
    """How an export is measured; what is None is as it was searched for.

    Attributes:
        device: Device to measure on.
        batch_size: Images per call.
        layout: Memory layout; ``auto`` is the one dense runs fastest in.
        threads: CPU threads; None takes no more than there are cores.
        seconds: Longest time to spend on the latency.
        stat: Statistic over inputs whose ratio is reported.
    """

    device: str | None
    batch_size: int | None
    layout: str | None
    threads: int | None
    seconds: float
    stat: LatencyStat


def measure_export(exported: Exported, runtime: str | None, options: MeasuringOptions) -> dict[str, Any]:
    """Measure latency, energy and peak memory of the gated network and the dense one; return a JSON-ready document.

    Latency and energy are measured interleaved.

    Args:
        exported: The two networks and real images.
        runtime: Name of the runtime in which both run; None for the one it was searched for.
        options: How to measure.

    Raises:
        DeviceError: If there is no such device, or the networks cannot run like that.
    """
    comparison = _compared(exported, runtime or exported.setting.runtime, options)
    memory = _peak_memory(exported, comparison.setting)
    return {
        "schema": "autogate.measure/1",
        "label": "measured",
        "policy_digest": exported.policy.digest,
        **comparison.to_json(),
        "peak_memory": None if memory is None else memory.to_json(),
    }


def measure_in_all(exported: Exported, options: MeasuringOptions) -> dict[str, Any]:
    """Measure an export in every runtime that is installed here, one after the other; return a JSON-ready document.

    A runtime that cannot run so is listed with the reason. The arguments are those of :func:`measure_export`.

    Raises:
        DeviceError: If it runs in no runtime here.
    """
    rows: list[dict[str, Any]] = []
    for name in RUNTIMES:
        try:
            rows.append({"runtime": name, "reason": None, "measurement": measure_export(exported, name, options)})
        except DeviceError as error:
            rows.append({"runtime": name, "reason": str(error), "measurement": None})
    if not any(row["measurement"] for row in rows):
        raise DeviceError(f"the export runs in no runtime here: {'; '.join(row['reason'] for row in rows)}")
    return {"schema": "autogate.measure-runtimes/1", "label": "measured", "runtimes": rows}


def _compared(exported: Exported, runtime: str, options: MeasuringOptions) -> Comparison:
    searched, threads = exported.setting, options.threads
    target = resolve_device(options.device or searched.device)
    check_runtime(runtime, target)
    # What a runtime does not compute in is float32 there.
    dtype = searched.dtype if searched.dtype in (get_runtime(runtime).dtypes or DTYPES) else "float32"

    def setting_for(layout: str) -> Setting:
        return setting_of(
            target,
            batch_size=searched.batch_size if options.batch_size is None else options.batch_size,
            dtype=dtype,
            layout=layout,
            threads=min(searched.threads, usable_cores()) if threads is None else threads,
            runtime=runtime,
        )

    layouts = get_runtime(runtime).layouts
    wanted = options.layout or (searched.layout if layouts is None or searched.layout in layouts else "auto")
    setting = setting_for(fastest_layout(exported.network, setting_for) if wanted == "auto" else wanted)
    size = setting.batch_size
    images = exported.images.repeat(-(-size // len(exported.images)), 1, 1, 1)
    varies = policy_varies(exported.policy)
    inputs = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
    inputs = inputs[: VARYING_INPUTS if varies else FIXED_INPUTS]
    comparison = compare(
        exported.dense,
        exported.gated,
        inputs,
        setting,
        varies=varies,
        stat=options.stat,
        seconds=options.seconds,
    )
    return replace(comparison, energy=energy_beside_dense(exported.dense, exported.gated, inputs, setting))


def _peak_memory(exported: Exported, setting: Setting) -> PeakMemory | None:
    """Return the peak memory of both networks; None in a runtime that allocates in another process."""
    if get_runtime(setting.runtime).isolated:
        return None
    return PeakMemory(
        peak_memory_bytes(exported.dense, DENSE, exported.network, setting),
        peak_memory_bytes(exported.gated, exported.policy, exported.network, setting),
    )
