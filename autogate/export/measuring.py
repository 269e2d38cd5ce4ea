"""Measure an export beside its dense network, on whatever device is at hand."""

from __future__ import annotations

from typing import Any

from autogate.export.reload import Exported
from autogate.latency import compare, fastest_layout, resolve_device, setting_of
from autogate.latency.device import usable_cores
from autogate.records import Comparison, LatencyStat, Setting
from autogate.search.finalists import FIXED_INPUTS, VARYING_INPUTS, policy_varies


def measure_export(
    exported: Exported,
    *,
    device: str | None,
    batch_size: int | None,
    layout: str | None,
    threads: int | None,
    runtime: str,
    seconds: float,
    stat: LatencyStat,
) -> Comparison:
    """Time the gated network against the dense one, interleaved; what is None is as it was searched for.

    Args:
        exported: The two networks and real images.
        device: Device to measure on.
        batch_size: Images per call.
        layout: Memory layout; ``auto`` is the one dense runs fastest in.
        threads: CPU threads; None takes no more than there are cores.
        runtime: How both run: ``eager``, ``compiled`` or ``cuda_graph``.
        seconds: Longest time to spend.
        stat: Statistic over inputs whose ratio is reported.

    Raises:
        DeviceError: If there is no such device, or the networks cannot run like that.
    """
    searched = exported.setting
    target = resolve_device(device or searched.device)

    def setting_for(layout: str) -> Setting:
        return setting_of(
            target, batch_size=searched.batch_size if batch_size is None else batch_size, dtype=searched.dtype,
            layout=layout, threads=min(searched.threads, usable_cores()) if threads is None else threads,
            runtime=runtime,
        )  # fmt: skip

    wanted = layout or searched.layout
    setting = setting_for(fastest_layout(exported.network, setting_for) if wanted == "auto" else wanted)
    size = setting.batch_size
    images = exported.images.repeat(-(-size // len(exported.images)), 1, 1, 1)
    varies = policy_varies(exported.policy)
    inputs = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
    inputs = inputs[: VARYING_INPUTS if varies else FIXED_INPUTS]
    return compare(exported.dense, exported.gated, inputs, setting, varies=varies, stat=stat, seconds=seconds)


def measurement_document(exported: Exported, comparison: Comparison) -> dict[str, Any]:
    """Return a measurement of an export as one JSON-ready document."""
    return {
        "schema": "autogate.measure/1",
        "label": "measured",
        "policy_digest": exported.policy.digest,
        **comparison.to_json(),
    }
