"""Images of any number of channels and inputs of any shape, held in memory or read again and again."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from autogate.data import ImageData, from_datasets, load_data
from autogate.data.source import fit, natural_size
from autogate.errors import DataError
from autogate.records import Preprocessing


def pixels_of(shape: tuple[int, int, int]) -> Tensor:
    return torch.randint(0, 256, (8, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def data_of(shape: tuple[int, int, int], **more: Any) -> ImageData:
    dataset = TensorDataset(pixels_of(shape), torch.arange(8) % 2)
    return from_datasets(dataset, dataset, val=dataset, **more)


def first(data: ImageData, **more: Any) -> Tensor:
    return next(data.test.batches(8, **more))[0]


SHAPES = [(random.Random(seed).choice([1, 2, 3, 4, 7]), 5 + 7 * seed % 30, 8 + 11 * seed % 40) for seed in range(8)]


@pytest.mark.parametrize("shape", [*SHAPES, (13, 8, 8), (4, 12, 64), (1, 64, 16)])
def test_images_keep_the_shape_and_the_values_they_have(shape: tuple[int, int, int]) -> None:
    data = data_of(shape, channels=1 if shape[0] == 1 else 3)
    assert data.preprocessing.input_shape == shape
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.preprocessing.mean, data.preprocessing.std))
    pixels = ((first(data) * std + mean) * 255).round().byte()
    assert sorted(pixels.flatten(1).tolist()) == sorted(pixels_of(shape).flatten(1).tolist())


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [8, (6, 10), (80, 70)])
def test_memory_and_stream_agree(channels: int, size: Any) -> None:
    shape = (channels, 9, 14)
    options = {"preprocessing": Preprocessing(size).with_channels(channels), "channels": 1 if channels == 1 else 3}
    held, streamed = (data_of(shape, memory_limit_bytes=limit, **options) for limit in (2**30, 1))
    height, width = (size, size) if isinstance(size, int) else size
    assert first(held).shape == (8, channels, height, width)
    assert torch.equal(first(held), first(streamed))
    assert held.fingerprint == streamed.fingerprint
    for data in (held, streamed):
        turned = first(data, augment=True, shuffle_seed=3)
        assert turned.shape == first(data).shape
        assert torch.equal(turned, first(data, augment=True, shuffle_seed=3))
        assert not torch.equal(turned, first(data, shuffle_seed=3))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("given", ["L", "RGB", "1", "RGBA", "P"])
def test_images_become_what_the_network_takes(channels: int, mode: str, given: str) -> None:
    picture = fit(Image.new("RGB", (40, 20), (200, 100, 50)).convert(given), (channels, 8, 16))
    assert isinstance(picture, Image.Image)
    assert picture.mode == mode
    assert picture.size == (16, 8)


def test_digits_can_be_grey() -> None:
    grey, coloured = (load_data("digits", channels=channels) for channels in (1, 3))
    assert grey.preprocessing == Preprocessing(32, (0.5,), (0.5,))
    assert torch.equal(first(grey), first(coloured)[:, :1])


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        # A column of an image that is twice as wide as needed stays in the centre.
        ((80, 20), (20, 40), [20, 59]),
        ((40, 20), (20, 40), [0, 39]),
    ],
)
def test_the_centre_is_cut_out(size: tuple[int, int], target: tuple[int, int], expected: list[int]) -> None:
    columns = torch.arange(size[0], dtype=torch.uint8).expand(1, size[1], size[0])
    cut = fit(columns, (1, *target))
    assert isinstance(cut, Tensor)
    assert cut.shape == (1, *target)
    assert [int(cut[0, 0, 0]), int(cut[0, 0, -1])] == expected
    grey = fit(Image.fromarray(columns[0].numpy()), (1, *target))
    assert isinstance(grey, Image.Image)
    assert [grey.getpixel((0, 0)), grey.getpixel((target[1] - 1, 0))] == expected


@pytest.mark.parametrize(("sizes", "natural"), [([(8, 8)] * 3, 8), ([(8, 6)] * 3, (6, 8)), ([(8, 6), (6, 8)], 224)])
def test_the_natural_size(sizes: list[tuple[int, int]], natural: Any) -> None:
    class Source:
        def __len__(self) -> int:
            return len(sizes)

        def size_of(self, position: int) -> tuple[int, int]:
            return sizes[position]

    assert natural_size(Source()) == natural  # type: ignore[arg-type]


def test_statistics_must_fit_the_channels() -> None:
    of_three = Preprocessing(8, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    with pytest.raises(DataError, match="have 4 channels here, and mean and standard deviation are given for 3; give "):
        data_of((4, 8, 8), preprocessing=of_three)
    assert data_of((4, 8, 8)).preprocessing == Preprocessing(8, (0.5,) * 4, (0.5,) * 4)
    assert data_of((3, 8, 8), preprocessing=of_three).preprocessing == of_three


def test_all_images_have_as_many_channels() -> None:
    mixed: Any = [(torch.zeros(4, 8, 8), 0), (torch.zeros(4, 8, 8), 1), (torch.zeros(5, 8, 8), 0)]
    with pytest.raises(DataError, match=r"train\[2\] has another number of channels than train\[0\]; leave it out"):
        from_datasets(mixed, mixed, val=mixed)
