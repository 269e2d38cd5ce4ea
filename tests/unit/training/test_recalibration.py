"""Every image has the same weight in the statistics of batch normalisations, whatever the number of images."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from autogate.data import Split, from_datasets
from autogate.training import recalibrate

CPU = torch.device("cpu")


def split_of(count: int, seed: int = 0) -> Split:
    """Return images of random brightness, of which the last to be drawn differ most."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 1, 1, 1, generator=generator) * torch.rand(count, 3, 4, 4, generator=generator)
    data = TensorDataset(pixels, torch.arange(count) % 2)
    return from_datasets(data, data, val=data, num_classes=2).train


@pytest.mark.parametrize("count", [2, 3, 127, 128, 129, 130, 257, 260, 1025])
def test_the_mean_is_that_of_all_images(count: int) -> None:
    split = split_of(count, seed=count)
    norm = nn.BatchNorm2d(3, momentum=0.3)
    recalibrate(nn.Sequential(norm), split, seed=0, device=CPU)
    everything = torch.cat([images for images, _ in split.batches(64)])
    torch.testing.assert_close(norm.running_mean, everything.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.3
    assert not norm.training


@pytest.mark.parametrize("count", [2, 129, 257])
def test_no_batch_holds_a_single_image(count: int) -> None:
    head = nn.BatchNorm1d(3)
    form = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    recalibrate(form, split_of(count), seed=0, device=CPU)
    assert head.running_mean is not None
    assert head.running_mean.abs().sum() > 0


def test_a_single_image_leaves_statistics_as_they_are() -> None:
    head = nn.BatchNorm1d(3)
    assert head.running_mean is not None
    head.running_mean.fill_(7)
    recalibrate(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), split_of(1), seed=0, device=CPU)
    assert head.running_mean.tolist() == [7, 7, 7]


def test_what_does_not_run_in_evaluation_keeps_its_statistics() -> None:
    class OnlyInTraining(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.main(self.idle(x) if self.training else x)

    form = OnlyInTraining()
    form.idle.running_mean = torch.tensor([1.0, 2.0, 3.0])
    recalibrate(form, split_of(20), seed=0, device=CPU)
    assert form.idle.running_mean.tolist() == [1, 2, 3]
    assert form.main.running_mean is not None
    assert form.main.running_mean.abs().sum() > 0
