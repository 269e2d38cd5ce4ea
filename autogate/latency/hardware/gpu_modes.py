"""How a GPU and its libraries are told to work: what changes a latency, and is no setting of a profile's own."""

from __future__ import annotations

from collections.abc import Callable

import torch

from autogate.latency.hardware.nvml import are_locked


def gpu_modes(device: torch.device) -> dict[str, str]:
    """Return whether TF32 and cuDNN's benchmarking are ``on`` or ``off``, and ``clocks``, if they are ``locked``."""
    backends = torch.backends
    modes = {
        "matmul_tf32": _tf32(lambda: backends.cuda.matmul.allow_tf32, lambda: backends.cuda.matmul.fp32_precision),
        "cudnn_tf32": _tf32(lambda: backends.cudnn.allow_tf32, lambda: backends.cudnn.conv.fp32_precision),  # type: ignore[attr-defined]
        "cudnn_benchmark": _switch(backends.cudnn.benchmark),
    }
    return modes | ({"clocks": "locked"} if are_locked(device) else {})


def _tf32(allowed: Callable[[], bool], precision: Callable[[], str]) -> str:
    try:
        return _switch(allowed())
    except RuntimeError:
        # Torch refuses to say it the old way once it was told the new way.
        return _switch(precision() == "tf32")


def _switch(on: bool) -> str:
    return "on" if on else "off"
