"""The number of channels that a network takes, and the sites found for inputs of another size."""

from __future__ import annotations

import pytest
from torch import nn

import autogate
from autogate.errors import AutoGateError
from autogate.models import input_channels, load_model


@pytest.mark.parametrize(
    ("module", "channels"),
    [
        (nn.Sequential(nn.BatchNorm2d(5), nn.Conv2d(5, 8, 3), nn.Conv2d(8, 2, 1)), 5),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8)), 1),
        (nn.Flatten(), 3),
    ],
)
def test_channels(module: nn.Module, channels: int) -> None:
    assert input_channels(module) == channels


def test_channels_of_networks_by_name() -> None:
    assert input_channels(load_model("resnet20").module) == 3


@pytest.mark.parametrize(("size", "shape"), [(16, (16, 16, 16)), ("24x36", (16, 24, 36)), ((36, 24), (16, 36, 24))])
def test_sites_of_other_inputs(size: int | str | tuple[int, int], shape: tuple[int, int, int]) -> None:
    assert tuple(autogate.find_sites("resnet20", input_size=size)[0].document["shape"]) == shape


def test_a_wrong_size_is_refused() -> None:
    with pytest.raises(AutoGateError, match="--input-size must be a whole number, or height and width such as"):
        autogate.find_sites("resnet20", input_size="24by36")
