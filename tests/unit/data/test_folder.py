from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import ExifTags, Image

from autogate.data import load_data
from autogate.errors import DataError
from autogate.records import Preprocessing

Collect = Callable[..., tuple[torch.Tensor, torch.Tensor]]
Make = Callable[..., Path]


def fails(root: Path | str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(root)
    assert "\n" not in str(caught.value)


def test_train_and_test(folder: Path, collect: Collect) -> None:
    data = load_data(folder)
    assert (len(data.train), len(data.val), len(data.test)) == (54, 6, 15)
    assert data.class_names == ("digit0", "digit1", "digit2")
    assert data.val.labels.bincount().tolist() == [2, 2, 2]
    assert data.preprocessing == Preprocessing(16)
    assert collect(data.test)[0].shape == (15, 3, 16, 16)


def test_pixels_are_those_of_the_files(folder: Path, collect: Collect) -> None:
    shutil.rmtree(folder / "test")
    for label in range(3):  # one flat colour per class
        place = folder / "validation" / f"digit{label}"
        place.mkdir(parents=True)
        Image.new("RGB", (16, 16), (label * 100, 7, 255)).save(place / "a.png")
    data = load_data(folder, preprocessing=Preprocessing(16, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0)))
    images, labels = collect(data.test)
    for image, label in zip(images, labels, strict=True):
        expected = torch.tensor([(int(label) * 100 / 255 - 0.5) / 0.5, 7 / 255 - 0.25, 0.5])
        torch.testing.assert_close(image[:, 3, 5], expected)


@pytest.mark.parametrize(
    ("layout", "sizes"),
    [
        ({"training": 10, "eval": 4}, (27, 3, 12)),
        ({"train": 10, "valid": 2, "testing": 3}, (30, 6, 9)),
        ({"train": 10, "val": 2, "test": 3}, (30, 6, 9)),
    ],
)
def test_split_names(make_folder: Make, layout: dict[str, int], sizes: tuple[int, int, int]) -> None:
    data = load_data(make_folder(layout))
    assert (len(data.train), len(data.val), len(data.test)) == sizes


def test_large_images_get_the_usual_centre_crop(folder: Path, collect: Collect) -> None:
    path = folder / "train" / "digit0" / "000.jpg"
    Image.new("L", (300, 200), 90).save(path)
    data = load_data(folder)
    assert data.preprocessing.input_size == 224
    images, _ = collect(data.train, limit=4, augment=True, shuffle_seed=0)
    assert images.shape == (4, 3, 224, 224)


@pytest.mark.parametrize("size", [16, 96])
def test_streaming_equals_memory_and_repeats(folder: Path, collect: Collect, size: int) -> None:
    held = load_data(folder, preprocessing=Preprocessing(size))
    streamed = load_data(folder, preprocessing=Preprocessing(size), memory_limit_bytes=1)
    parallel = load_data(folder, preprocessing=Preprocessing(size), memory_limit_bytes=1, workers=2)
    assert held.fingerprint == streamed.fingerprint == parallel.fingerprint
    for a, b in zip(collect(held.train, shuffle_seed=2), collect(streamed.train, shuffle_seed=2), strict=True):
        assert torch.equal(a, b)
    before = torch.get_rng_state()
    first = collect(streamed.train, shuffle_seed=2, augment=True)
    again = collect(parallel.train, shuffle_seed=2, augment=True)
    other = collect(streamed.train, shuffle_seed=3, augment=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_fingerprint_ignores_the_place_and_sees_the_files(folder: Path, tmp_path: Path) -> None:
    base = load_data(folder).fingerprint
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert load_data(moved).fingerprint == base
    (moved / "train" / "digit1" / "001.png").unlink()
    assert load_data(moved).fingerprint != base


def test_hidden_files_and_other_types_are_ignored(folder: Path) -> None:
    base = load_data(folder).fingerprint
    (folder / "train" / "digit0" / "._000.jpg").write_bytes(b"resource fork")
    (folder / "train" / "digit0" / "notes.txt").write_text("no image")
    (folder / "train" / ".cache").mkdir()
    assert load_data(folder).fingerprint == base


def test_missing_directories(tmp_path: Path, make_folder: Make) -> None:
    fails(tmp_path / "none", "does not exist")
    fails("./none", "does not exist")
    fails("", "no data was named")
    fails(tmp_path, "has no train folder")
    fails(make_folder({"train": 2}), "neither a test nor a val folder")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    path.write_bytes(b"")
    fails(path, "is not a directory")


def test_one_class_and_none(make_folder: Make, tmp_path: Path) -> None:
    fails(make_folder({"train": 3, "test": 2}, classes=1), "only the class 'digit0'")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "test").mkdir()
    fails(tmp_path / "empty", "holds no classes")


def test_class_without_images(folder: Path) -> None:
    (folder / "train" / "digit9").mkdir()
    fails(folder, "digit9 holds no images")


def test_classes_that_differ(folder: Path) -> None:
    os.rename(folder / "test" / "digit2", folder / "test" / "digit7")
    fails(folder, "test lacks digit2 and adds digit7; every split needs the classes of")


@pytest.mark.parametrize("kind", ["truncated", "garbage", "empty"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_damaged_image_is_named(folder: Path, kind: str, suffix: str) -> None:
    path = folder / "train" / "digit1" / ("003.jpg" if suffix == "jpg" else "004.png")
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) * 2 // 3], "garbage": b"x" * 500, "empty": b""}[kind])
    fails(folder, f"cannot read the image .*digit1.{path.name}")


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_image_is_named_when_streaming(folder: Path, workers: int) -> None:
    path = folder / "train" / "digit1" / "003.jpg"
    path.write_bytes(path.read_bytes()[:200])
    data = load_data(folder, preprocessing=Preprocessing(16), memory_limit_bytes=1, workers=workers)
    with pytest.raises(DataError, match=r"cannot read the image .*003\.jpg") as caught:
        [list(split.batches(8)) for split in (data.train, data.val)]
    assert "\n" not in str(caught.value)


def test_files_are_read_as_a_person_sees_them(folder: Path, collect: Collect) -> None:
    shutil.rmtree(folder / "test")
    odd = {"16 bits": Image.new("I;16", (16, 16), 65_535), "clear": Image.new("RGBA", (16, 16))}
    turned = Image.new("L", (16, 16))
    turned.paste(255, (0, 0, 16, 8))  # white above, black below; stored upside down
    turned.getexif()[ExifTags.Base.Orientation] = 3
    for label, image in enumerate((*odd.values(), turned)):
        (folder / "test" / f"digit{label}").mkdir(parents=True)
        image.save(folder / "test" / f"digit{label}" / "x.png", exif=image.getexif())
    images, labels = collect(load_data(folder, preprocessing=Preprocessing(16, (0.0,) * 3, (1.0,) * 3)).test)
    by_label = images[labels.argsort()]
    assert by_label[:2].min() == 1.0
    assert (by_label[2, :, :8].max(), by_label[2, :, 8:].min()) == (0.0, 1.0)


def test_numbers_without_a_known_white_are_refused_by_file(folder: Path) -> None:
    Image.new("F", (16, 16), 200).save(folder / "train" / "digit1" / "heat.tif")
    fails(folder, r"the image .*digit1.heat\.tif holds 32-bit floats from 200 to 200, which")


def test_a_very_long_image_takes_little_memory(folder: Path, collect: Collect) -> None:
    strip = Image.new("L", (20_000, 1))
    strip.paste(255, (9_990, 0, 10_010, 1))
    strip.save(folder / "test" / "digit0" / "strip.png")
    with pytest.MonkeyPatch.context() as patch:
        largest = []
        resize = Image.Image.resize
        patch.setattr(
            Image.Image, "resize", lambda self, size, *more: largest.append(size) or resize(self, size, *more)
        )
        images, _ = collect(load_data(folder, preprocessing=Preprocessing(16, (0.0,) * 3, (1.0,) * 3)).test)
    assert max(largest) == (128, 16)
    assert (images.amin(dim=(1, 2, 3)) == 1).sum() == 1


def test_pillow_warns_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_data(folder)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    fails(folder, r"the image .* has more than 200 pixels; make it smaller")


def test_classes_named_by_numbers_are_told(make_folder: Make) -> None:
    root = make_folder({"train": 2, "test": 1}, classes=3)
    for split in ("train", "test"):
        for label, number in enumerate(("2", "10", "9")):
            os.rename(root / split / f"digit{label}", root / split / number)
    data = load_data(root)
    assert data.class_names == ("10", "2", "9")
    assert "ordered as text: 10, 2, 9, not 2, 9, 10" in data.notes[-1]


@pytest.mark.e2e
def test_cifar_folder(cifar_folder: Path, collect: Collect) -> None:
    data = load_data(cifar_folder)
    assert len(data.test) == 8000
    assert len(data.val) == min(5000, round(0.1 * (len(data.train) + len(data.val))))
    assert data.preprocessing == Preprocessing(32)
    assert not data.is_small
    assert data.num_classes == 10
    assert data.val.labels.bincount().min() == data.val.labels.bincount().max()
    assert collect(data.train, shuffle_seed=0, augment=True, limit=100)[0].shape == (100, 3, 32, 32)
