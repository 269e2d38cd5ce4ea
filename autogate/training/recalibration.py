"""Estimate the statistics of batch normalisations again, every image with the same weight."""

from __future__ import annotations

import math

import torch
from torch import nn

from autogate.data import Split
from autogate.device_lock import training_step

_IMAGES = 2048


def recalibrate(form: nn.Module, split: Split, *, seed: int, device: torch.device) -> None:
    """Estimate the statistics of every batch normalisation again, with the gates as in evaluation.

    Batches are as equal as they can be, so that none holds a single image, of which some layers have no variance. What
    does not run in evaluation keeps its statistics, and so does everything if there is only one image.

    Args:
        form: The network; it is left in evaluation mode.
        split: Images to estimate on; up to 2048 of them are taken.
        seed: Seed of their choice.
        device: Device to run on.
    """
    form.eval()
    if (images := min(len(split), _IMAGES)) < 2:
        return
    norms = [m for m in form.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [{name: value.clone() for name, value in norm.named_buffers(recurse=False)} for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    batch_size = math.ceil(images / math.ceil(images / max(2, split.evaluation_batch())))
    seen = 0
    with torch.no_grad():
        for batch, _ in split.batches(batch_size, shuffle_seed=seed, limit=images):
            seen += len(batch)
            for norm in norms:
                # Makes the running averages those of all images so far, however many this batch holds.
                norm.momentum = len(batch) / seen
            with training_step(device):
                form(batch.to(device).contiguous(memory_format=torch.channels_last))
    for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
        norm.momentum = momentum
        if not norm.num_batches_tracked:
            norm.load_state_dict(buffers, strict=False)
    form.eval()
