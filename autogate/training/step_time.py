"""How long a training step takes in bfloat16, compared with float32."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import nn

from autogate.device_lock import training_step
from autogate.sites import tensors_of

_WARM_UP_STEPS = 1
_STEPS = 3
# Pixels of a batch that is timed, at the most; the two times grow alike with it.
_MOST_PIXELS = 8 * 224 * 224


def bfloat16_time_ratio(
    form: nn.Module, input_shape: tuple[int, int, int], batch_size: int, device: torch.device
) -> float:
    """Return the time of a step in bfloat16 over that of one in float32; infinite where it cannot run in bfloat16.

    Steps of both kinds take turns on random images, and the shortest of each counts. On a CPU it is the processor's
    time, which other processes hardly change.

    Args:
        form: The network, which takes ``[N, C, H, W]``; a copy is trained.
        input_shape: Channels, height and width of an image.
        batch_size: Images per step; large images are timed in smaller batches.
        device: Where to train.
    """
    pixels = input_shape[1] * input_shape[2]
    count = max(2, min(batch_size, _MOST_PIXELS // pixels))
    form = copy.deepcopy(form).to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((count, *input_shape), generator=generator).to(device)
    images = images.contiguous(memory_format=torch.channels_last)
    times_s: dict[bool, list[float]] = {False: [], True: []}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            for _ in range(_WARM_UP_STEPS + _STEPS):
                for bfloat16, times in times_s.items():
                    with training_step(device):
                        times.append(_step_s(form, images, bfloat16))
        except RuntimeError:  # some layer has no kernel for it
            return math.inf
    float32_s, bfloat16_s = (min(times[_WARM_UP_STEPS:]) for times in times_s.values())
    return bfloat16_s / float32_s


def _step_s(form: nn.Module, images: torch.Tensor, bfloat16: bool) -> float:
    """Return the seconds that a forward and a backward pass take."""
    start_s = _now_s(images.device)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        result = form(images)
    loss = torch.stack([tensor.float().square().mean() for tensor in tensors_of(result).values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    for parameter in form.parameters():
        parameter.grad = None
    return _now_s(images.device) - start_s


def _now_s(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
