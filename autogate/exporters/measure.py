"""Measure an export beside its dense network, on whatever device is at hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autogate.exporters.load import Exported
from autogate.latency.hardware import resolve_device, setting_of
from autogate.latency.profile import fastest_layout
from autogate.latency.timing import compare
from autogate.policy import DENSE
from autogate.records import Comparison, LatencyStat, PeakMemory, Setting
from autogate.resources import FIXED_INPUTS, VARYING_INPUTS, energy_beside_dense, peak_memory_bytes, policy_varies
from autogate.runtimes import check_runtime, get_runtime
from autogate.system import usable_cores


def measure_export(
    exported: Exported,
    *,
    device: str | None,
    batch_size: int | None,
    layout: str | None,
    threads: int | None,
    runtime: str | None,
    seconds: float,
    stat: LatencyStat,
) -> Comparison:
    """Measure latency and energy of the gated network and the dense one, interleaved.

    What is None is as it was searched for.

    Args:
        exported: The two networks and real images.
        device: Device to measure on.
        batch_size: Images per call.
        layout: Memory layout; ``auto`` is the one dense runs fastest in.
        threads: CPU threads; None takes no more than there are cores.
        runtime: Name of the runtime in which both run.
        seconds: Longest time to spend on the latency.
        stat: Statistic over inputs whose ratio is reported.

    Raises:
        DeviceError: If there is no such device, or the networks cannot run like that.
    """
    searched = exported.setting
    target, runtime = resolve_device(device or searched.device), runtime or searched.runtime
    check_runtime(runtime, target)

    def setting_for(layout: str) -> Setting:
        return setting_of(
            target,
            batch_size=searched.batch_size if batch_size is None else batch_size,
            dtype=searched.dtype,
            layout=layout,
            threads=min(searched.threads, usable_cores()) if threads is None else threads,
            runtime=runtime,
        )

    layouts = get_runtime(runtime).layouts
    wanted = layout or (searched.layout if layouts is None or searched.layout in layouts else "auto")
    setting = setting_for(fastest_layout(exported.network, setting_for) if wanted == "auto" else wanted)
    size = setting.batch_size
    images = exported.images.repeat(-(-size // len(exported.images)), 1, 1, 1)
    varies = policy_varies(exported.policy)
    inputs = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
    inputs = inputs[: VARYING_INPUTS if varies else FIXED_INPUTS]
    comparison = compare(exported.dense, exported.gated, inputs, setting, varies=varies, stat=stat, seconds=seconds)
    return replace(comparison, energy=energy_beside_dense(exported.dense, exported.gated, inputs, setting))


def measure_memory(exported: Exported, setting: Setting) -> PeakMemory | None:
    """Observe the peak memory of both networks; None in a runtime that allocates in another process."""
    if get_runtime(setting.runtime).isolated:
        return None
    return PeakMemory(
        peak_memory_bytes(exported.dense, DENSE, exported.network, setting),
        peak_memory_bytes(exported.gated, exported.policy, exported.network, setting),
    )


def measurement_document(exported: Exported, comparison: Comparison, memory: PeakMemory | None) -> dict[str, Any]:
    """Return a measurement of an export as one JSON-ready document."""
    return {
        "schema": "autogate.measure/1",
        "label": "measured",
        "policy_digest": exported.policy.digest,
        **comparison.to_json(),
        "peak_memory": None if memory is None else memory.to_json(),
    }
