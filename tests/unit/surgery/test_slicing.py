"""Convolutions whose channels are selected while the network runs."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from autogate.surgery.slicing import SelectedConv

LAYOUTS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "bias"), [(1, 1, 0, True), (1, 1, 0, False), (1, 2, 0, True), (3, 1, 1, True)]
)
@pytest.mark.parametrize(("reads", "writes"), itertools.product((1, 4), (1, 2)))
def test_selected_channels_are_those_of_the_whole_convolution(
    kernel: int, stride: int, padding: int, bias: bool, reads: int, writes: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 12, kernel, stride, padding, bias=bias).double()
    selected = SelectedConv.around(conv).writes_groups_of(writes).reads_groups_of(reads)
    assert SelectedConv.around(selected) is selected
    x = torch.rand(3, 16, 6, 5, dtype=torch.float64).contiguous(memory_format=layout)
    inputs, outputs = torch.randperm(16 // reads)[:3], torch.randperm(12 // writes)[:4]
    factor = torch.rand(3, 3, dtype=torch.float64)
    channels = (inputs[:, None] * reads + torch.arange(reads)).flatten()
    written = (outputs[:, None] * writes + torch.arange(writes)).flatten()
    masked = torch.zeros_like(x)
    masked[:, channels] = x[:, channels] * factor.repeat_interleave(reads, dim=1)[:, :, None, None]
    found = selected(x[:, channels].contiguous(memory_format=layout), inputs, factor, outputs)
    torch.testing.assert_close(found, conv(masked)[:, written])
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(selected(x, outputs=outputs), conv(x)[:, written])
