"""Run a piece of work with a given number of CPU threads and no gradients, as inference does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autogate.records import Setting


@contextmanager
def inference(setting: Setting) -> Iterator[None]:
    """Set the setting's thread count and inference mode; restore both afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
