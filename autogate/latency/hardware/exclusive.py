"""Run a measurement alone on its device, with a given number of CPU threads and no gradients, as inference does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autogate.device_lock import measurement
from autogate.records import Setting


@contextmanager
def inference_setting(setting: Setting) -> Iterator[None]:
    """Run with the setting's thread count and in inference mode; restore both afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def exclusive_inference(setting: Setting) -> Iterator[None]:
    """Have the device alone, as in use."""
    with inference_setting(setting), measurement(torch.device(setting.device)):
        yield
