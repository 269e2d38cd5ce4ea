from __future__ import annotations

import copy
import math

import torch
from torch import nn

from autogate.training import bfloat16_time_ratio

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_copy_is_timed_and_random_numbers_are_left_alone() -> None:
    form = network().eval()
    before, random_state = copy.deepcopy(form.state_dict()), torch.get_rng_state()
    ratio = bfloat16_time_ratio(form, (3, 16, 16), 8, CPU)
    assert 0 < ratio < 1000
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not form.training
    assert all(torch.equal(value, form.state_dict()[name]) for name, value in before.items())
    assert all(p.grad is None for p in form.parameters())


def test_a_layer_without_bfloat16_is_never_faster_in_it() -> None:
    class Exact(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dtype == torch.bfloat16:
                raise RuntimeError('"exact" not implemented for BFloat16')
            return x

    assert bfloat16_time_ratio(nn.Sequential(network(), Exact()), (3, 16, 16), 8, CPU) == math.inf


def test_large_images_are_timed_in_small_batches() -> None:
    sizes = []
    form = network()
    form.register_forward_pre_hook(lambda module, arguments: sizes.append(tuple(arguments[0].shape)))
    bfloat16_time_ratio(form, (3, 448, 448), 32, CPU)
    assert set(sizes) == {(2, 3, 448, 448)}
