"""Batches are no larger than their images allow."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

from autogate.data import from_own_task


@pytest.mark.parametrize(
    ("size", "batch"), [((8, 8), 128), ((224, 224), 128), ((224, 448), 64), ((448, 448), 32), ((4000, 4000), 1)]
)
def test_larger_images_come_in_smaller_batches(size: tuple[int, int], batch: int) -> None:
    data = TensorDataset(torch.zeros(1, 1, *size).expand(2, -1, -1, -1))
    assert from_own_task(data, data).train.evaluation_batch() == batch
