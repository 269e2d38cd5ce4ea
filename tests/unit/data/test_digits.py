from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from autogate.data import ImageData, load_data
from autogate.errors import DataError
from autogate.records import Preprocessing

Collect = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_data("digits")


def rows(images: torch.Tensor) -> set[str]:
    return {hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images}


def test_splits_cover_all_digits_evenly(digits: ImageData) -> None:
    sizes = [len(split) for split in (digits.train, digits.val, digits.test)]
    assert sum(sizes) == 1797
    assert sizes == [1294, 144, 359]
    for split in (digits.train, digits.val, digits.test):
        counts = split.labels.bincount(minlength=10)
        assert counts.max() - counts.min() <= max(2, 0.06 * len(split) / 10)
    assert digits.is_small
    assert digits.num_classes == 10
    assert digits.class_names == tuple("0123456789")


def test_no_image_is_in_two_splits(digits: ImageData, collect: Collect) -> None:
    train, val, test = (rows(collect(split)[0]) for split in (digits.train, digits.val, digits.test))
    assert not train & test
    assert not train & val
    assert not val & test


def test_batches_are_normalised_rgb(digits: ImageData, collect: Collect) -> None:
    images, labels = collect(digits.val)
    assert images.shape == (144, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert labels.dtype == torch.int64
    assert torch.equal(labels, digits.val.labels)
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    assert torch.equal(images[:, 0], images[:, 2])


def test_the_seed_decides_order_and_augmentation(digits: ImageData, collect: Collect) -> None:
    first, again, other = (collect(digits.train, shuffle_seed=seed, augment=True, limit=64) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    plain, labels = collect(digits.train, shuffle_seed=3, limit=64)
    assert torch.equal(labels, first[1])
    assert not torch.equal(plain, first[0])


def test_global_random_state_is_left_alone(digits: ImageData, collect: Collect) -> None:
    before = torch.get_rng_state()
    collect(digits.train, shuffle_seed=3, augment=True, limit=64)
    assert torch.equal(torch.get_rng_state(), before)


def test_digits_shift_but_are_never_mirrored(digits: ImageData, collect: Collect) -> None:
    plain, _ = collect(digits.train, limit=32)
    moved, _ = collect(digits.train, limit=32, augment=True)
    for before, after in zip(plain, moved, strict=True):
        inner = after[:, 4:28, 4:28]
        spots = [before[:, 4 + y : 28 + y, 4 + x : 28 + x] for y in range(-4, 5) for x in range(-4, 5)]
        assert any(torch.equal(inner, spot) for spot in spots)


def test_limit_and_last_batch(digits: ImageData) -> None:
    sizes = [len(labels) for _, labels in digits.val.batches(64, limit=100)]
    assert sizes == [64, 36]
    assert [len(labels) for _, labels in digits.val.batches(64, limit=100, drop_last=True)] == [64]
    assert sum(len(labels) for _, labels in digits.val.batches(64, limit=10_000)) == 144
    assert list(digits.val.batches(64, limit=10, drop_last=True)) == []


def test_the_first_images_show_all_classes(digits: ImageData) -> None:
    for split in (digits.train, digits.val, digits.test):
        assert len(set(split.labels[:80].tolist())) == 10


@pytest.mark.parametrize(("options", "message"), [({"batch_size": 0}, "batch size"), ({"limit": 0}, "limit")])
def test_senseless_batches_fail_at_once(digits: ImageData, options: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        digits.val.batches(**{"batch_size": 8, **options})  # type: ignore[arg-type]


@pytest.mark.e2e
def test_fingerprint_follows_what_matters() -> None:
    def fingerprint(**options: Any) -> str:
        return load_data("digits", **options).fingerprint

    base = fingerprint()
    assert len(base) == 16
    assert fingerprint() == base
    assert fingerprint(memory_limit_bytes=1) == base
    others = [
        fingerprint(seed=1),
        fingerprint(val_fraction=0.2),
        fingerprint(preprocessing=Preprocessing(16)),
    ]
    assert len({base, *others}) == 4


def test_memory_and_streaming_give_the_same_images(digits: ImageData, collect: Collect) -> None:
    streamed = load_data("digits", memory_limit_bytes=1)
    for held, read in zip(collect(digits.val), collect(streamed.val), strict=True):
        assert torch.equal(held, read)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0])
def test_senseless_validation_fraction(fraction: float) -> None:
    with pytest.raises(DataError, match="validation fraction"):
        load_data("digits", val_fraction=fraction)


def test_max_val_limits_the_validation_split() -> None:
    data = load_data("digits", val_fraction=0.5, max_val=30)
    assert len(data.val) == 30
    assert data.val.labels.bincount(minlength=10).tolist() == [3] * 10
