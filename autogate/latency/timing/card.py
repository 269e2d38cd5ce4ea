"""The device card: what the device can do at best, and the state it is in; measured in a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from autogate.latency.hardware import DTYPES, device_state, exclusive_inference
from autogate.latency.timing.timing import Clock
from autogate.records import DeviceCard, Setting

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_COPIED_BYTES = 256 * 2**20
_MATRIX = {"cpu": 512, "cuda": 8192}
_MIN_REPEATS = 3


def take_card(setting: Setting, *, seconds: float = 20.0) -> DeviceCard:
    """Measure launch floor, synchronisation, copy bandwidth and matrix products for about ``seconds`` seconds.

    Changes no clock and no mode of the device.
    """
    device = torch.device(setting.device)
    clock = Clock(device)
    share = seconds / (3 + len(DTYPES))

    def fastest_ms(run: Callable[[], object], calls: int = 1) -> float:
        return _fastest_ms(run, clock, share, calls)

    with exclusive_inference(setting):
        one = torch.ones(1, device=device)
        launch_ms = fastest_ms(lambda: one.add_(0), calls=100)
        sync_ms = fastest_ms(clock.settle, calls=100) if clock.on_gpu else 0.0
        source = torch.ones(_COPIED_BYTES // 4, device=device)
        target = torch.empty_like(source)
        copy_ms = fastest_ms(lambda: target.copy_(source))
        products = {}
        for name, dtype in DTYPES.items():
            matrix = torch.ones(_MATRIX[device.type], _MATRIX[device.type], device=device, dtype=dtype)
            out = torch.empty_like(matrix)
            ms = fastest_ms(lambda a=matrix, o=out: torch.mm(a, a, out=o))  # type: ignore[misc]
            products[name] = 2 * matrix.shape[0] ** 3 / ms / 1e9
    return DeviceCard(
        launch_us=launch_ms * 1e3,
        sync_us=sync_ms * 1e3,
        copy_gb_per_s=2 * _COPIED_BYTES / copy_ms / 1e6,
        matmul_tflops=products,
        cache_bytes=cache_bytes(device),
        state=device_state(device),
    )


def _fastest_ms(run: Callable[[], object], clock: Clock, seconds: float, calls: int) -> float:
    """Return the 10th percentile over repeats of the time per call, after a tenth of the time as warm-up."""
    end = time.monotonic() + 0.1 * seconds
    run()
    clock.settle()
    while time.monotonic() < end:
        run()
        clock.settle()
    times: list[float] = []
    end = time.monotonic() + 0.9 * seconds
    while len(times) < _MIN_REPEATS or time.monotonic() < end:
        start = clock.now()
        for _ in range(calls):
            run()
        times.append(clock.between_ms(start, clock.now()) / calls)
    return float(np.percentile(times, 10))


def cache_bytes(device: torch.device) -> dict[str, int]:
    """Return the sizes of the device's data caches by level, as far as they are known."""
    if device.type == "cuda":
        return {"L2": int(torch.cuda.get_device_properties(device).L2_cache_size)}
    found = {}
    for index in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}"] = int(size.removesuffix("K")) * 1024
    return found
