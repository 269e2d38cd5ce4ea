"""Which images validate, when they are few, or when the user names them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from autogate.data import ImageData, from_datasets, load_data
from autogate.errors import DataError

Collect = Callable[..., tuple[torch.Tensor, torch.Tensor]]
Make = Callable[..., Path]


def sizes(data: ImageData) -> tuple[int, int, int]:
    return len(data.train), len(data.val), len(data.test)


def tensors(count: int, classes: int = 4, seed: int = 0) -> TensorDataset:
    pixels = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(pixels, torch.arange(count) % classes)


def test_one_image_per_class_is_divided_at_random(make_folder: Make) -> None:
    data = load_data(make_folder({"train": 1, "test": 1}, classes=10))
    assert sizes(data) == (9, 1, 10)
    [note] = data.notes
    assert "1 of 10 training images were taken at random; name other validation images with --val" in note


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("images", "val_fraction", "val"), [(4, 0.1, 1), (4, 0.5, 2), (7, 0.9, 6), (2, 0.9, 1)])
def test_fewer_images_than_classes(seed: int, images: int, val_fraction: float, val: int, collect: Collect) -> None:
    train = tensors(images, classes=50)
    data = from_datasets(train, tensors(4), num_classes=50, seed=seed, val_fraction=val_fraction)
    assert sizes(data) == (images - val, val, 4)
    labels = torch.cat([data.train.labels, data.val.labels])
    assert sorted(labels.tolist()) == sorted(train.tensors[1].tolist())
    assert "taken at random" in data.notes[0]


def test_enough_images_are_divided_by_class_without_a_note() -> None:
    data = from_datasets(tensors(40), tensors(4))
    assert data.val.labels.bincount().tolist() == [1, 1, 1, 1]
    assert data.notes == ()


def test_a_single_image_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="too few training images to take a validation split from"):
        from_datasets(tensors(1), tensors(4), num_classes=4)


def test_split_takes_validation_images_from_the_training_images(make_folder: Make) -> None:
    root = make_folder({"train": 10, "val": 2, "test": 3})
    assert sizes(load_data(root)) == (30, 6, 9)
    assert sizes(load_data(root, val="split")) == (27, 3, 9)
    assert load_data(root).fingerprint != load_data(root, val="split").fingerprint


def test_a_folder_elsewhere_validates(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"train": 1, "test": 3, "elsewhere": 4})
    data = load_data(root, val=str(root / "elsewhere"))
    assert sizes(data) == (3, 12, 9)
    assert data.notes == ()
    monkeypatch.setenv("HOME", str(root))
    assert load_data(root, val="~/elsewhere").fingerprint == data.fingerprint


def test_a_folder_validates_other_data_by_the_names_of_classes(make_folder: Make, collect: Collect) -> None:
    root = make_folder({"val": 3}, classes=3)
    for label in range(3):
        os.rename(root / "val" / f"digit{label}", root / "val" / "cba"[label])
    data = from_datasets(tensors(9, 3), tensors(6, 3), val=str(root / "val"), class_names=("a", "b", "c"))
    assert sizes(data) == (9, 9, 6)
    from_folder = load_data("digits", val=str(digits_folder(root / "digits")))
    assert len(from_folder.val) == 10
    assert from_folder.val.labels.bincount().tolist() == [1] * 10


def digits_folder(root: Path) -> Path:
    from PIL import Image

    for digit in range(10):
        (root / str(digit)).mkdir(parents=True)
        Image.new("L", (8, 8), digit).save(root / str(digit) / "0.png")
    return root


@pytest.mark.parametrize(
    ("val", "message"),
    [
        ("nowhere", "there is no folder nowhere of validation images; name one that has a folder per class, or split"),
        ("splt", "there is no folder splt"),
        ("train/digit0", "digit0 holds no classes"),
        ("few", "few lacks digit2; every split needs the classes of"),
    ],
)
def test_validation_images_that_do_not_fit(
    make_folder: Make, monkeypatch: pytest.MonkeyPatch, val: str, message: str
) -> None:
    root = make_folder({"train": 2, "test": 1, "few": 1})
    (root / "few" / "digit2" / "000.jpg").unlink()
    (root / "few" / "digit2").rmdir()
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match=message):
        load_data(root, val=val)


def test_data_that_are_divided_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ready_sets.py").write_text(
        "from autogate.data import load_data\ndef whole():\n    return load_data('digits')\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="ready_sets:whole brings its validation images with it; leave out --val"):
        load_data("ready_sets:whole", val="split")


def test_the_training_images_as_validation_images_are_told(make_folder: Make) -> None:
    root = make_folder({"train": 2, "test": 1})
    notes: Any = load_data(root, val=str(root / "train")).notes
    assert notes[0].startswith("6 validation images are training images too")
