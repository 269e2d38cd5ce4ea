from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from autogate.data import ImageData, load_data
from autogate.errors import DataError

Make = Callable[..., Path]
SIZES = (54, 6, 15)


def sizes(data: ImageData) -> tuple[int, int, int]:
    return len(data.train), len(data.val), len(data.test)


def fails(root: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(root)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["x.png", "x", "X.JPEG"])
@pytest.mark.parametrize("target", ["/nowhere/x", "x.png"])
def test_a_link_that_leads_nowhere_is_named(folder: Path, name: str, target: str) -> None:
    os.symlink(target if name == "x.png" or target[0] == "/" else name, folder / "train" / "digit1" / name)
    fails(folder, rf"digit1/{name} is a link that cannot be followed .*; repair or remove it")


def test_a_class_a_split_or_data_that_are_a_broken_link(folder: Path, tmp_path: Path) -> None:
    os.symlink("/nowhere/data", tmp_path / "data")
    fails(tmp_path / "data", "data is a link that leads nowhere")
    os.symlink("/nowhere/class", folder / "train" / "digit3")
    fails(folder, "digit3 is a link that cannot be followed")
    (folder / "train" / "digit3").unlink()
    os.symlink("/nowhere/val", folder / "val")
    fails(folder, "val is a link that cannot be followed")


def test_a_broken_link_that_is_no_image_is_no_matter(folder: Path) -> None:
    os.symlink("/nowhere/x", folder / "train" / "digit1" / "notes.txt")
    assert sizes(load_data(folder)) == SIZES


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "/"])
def test_a_link_to_a_folder_above_is_not_followed(folder: Path, target: str) -> None:
    base = load_data(folder).fingerprint
    os.symlink(target, folder / "train" / "digit1" / "up")
    data = load_data(folder)
    assert (sizes(data), data.fingerprint) == (SIZES, base)


def test_a_circle_through_a_folder_elsewhere(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "train" / "digit1", tmp_path / "pool" / "deep" / "digit1")
    os.symlink(tmp_path / "pool" / "deep" / "digit1", folder / "train" / "digit1")
    os.symlink("..", tmp_path / "pool" / "deep" / "digit1" / "up")
    os.symlink(tmp_path / "pool", tmp_path / "pool" / "deep" / "digit1" / "more")
    assert sizes(load_data(folder)) == SIZES


def test_a_class_that_is_a_link_to_a_folder_above(folder: Path) -> None:
    os.symlink(".", folder / "train" / "all")
    fails(folder, "train/all is a link to a folder that it lies in; remove it")


def test_linked_classes_and_splits_are_read(folder: Path, tmp_path: Path) -> None:
    base = load_data(folder).fingerprint
    for part in ("train", "test/digit0"):
        shutil.move(folder / part, tmp_path / "elsewhere" / part)
        os.symlink(tmp_path / "elsewhere" / part, folder / part)
    assert load_data(folder).fingerprint == base


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_each_real_file_counts_once(folder: Path, link: Callable[[Path, Path], None]) -> None:
    place = folder / "train" / "digit1"
    link(place / "001.png", place / "again.png")
    (place / "sub").mkdir()
    link(place / "002.png", place / "sub" / "002.png")
    os.symlink("sub", place / "sub2")
    data = load_data(folder)
    assert sizes(data) == SIZES
    assert data.notes == ()


def test_a_file_in_two_classes_is_told(folder: Path) -> None:
    os.symlink("../digit2/001.png", folder / "train" / "digit1" / "two.png")
    [note] = load_data(folder).notes
    assert "digit1/two.png lies in more than one class; remove" in note
    os.symlink("../digit2/002.png", folder / "train" / "digit1" / "other.png")
    assert "and 1 other files lie in more than one class" in load_data(folder).notes[0]


def test_splits_that_share_files_are_told(folder: Path) -> None:
    os.symlink("train", folder / "val")
    data = load_data(folder)
    assert sizes(data) == (60, 60, 15)
    assert data.notes == (
        "60 validation images are training images too, so accuracies say little of new images; remove the links",
    )


def test_names_that_are_no_utf8(folder: Path) -> None:
    base = load_data(folder)
    for split in ("train", "test"):
        inside = os.fsencode(folder / split)
        os.rename(inside + b"/digit2", inside + b"/digit\xe9")
        os.rename(inside + b"/digit\xe9/001.png", inside + b"/digit\xe9/\xff\n.png")
    data = load_data(folder)
    assert sizes(data) == SIZES
    assert data.class_names == ("digit0", "digit1", "digit\\xe9")
    assert data.fingerprint != base.fingerprint
    Path(os.fsdecode(os.fsencode(folder) + b"/train/digit\xe9/\xff\n.png")).write_bytes(b"x" * 50)
    fails(folder, r"cannot read the image .*digit\\xe9/\\xff\\n\.png")


@pytest.mark.parametrize("name", ["été", "ひらがな", "Ångström"])
def test_letters_with_accents_may_be_one_character_or_two(folder: Path, name: str) -> None:
    (folder / "train" / "digit0").rename(folder / "train" / unicodedata.normalize("NFD", name))
    (folder / "test" / "digit0").rename(folder / "test" / unicodedata.normalize("NFC", name))
    assert unicodedata.normalize("NFC", name) in load_data(folder).class_names
    if unicodedata.normalize("NFD", name) != unicodedata.normalize("NFC", name):
        shutil.copytree(folder / "train" / "digit1", folder / "train" / unicodedata.normalize("NFC", name))
        fails(folder, f"two folders for the class {unicodedata.normalize('NFC', name)}")


def test_a_class_of_other_files_says_what_it_holds_and_what_is_read(folder: Path) -> None:
    place = folder / "train" / "digit9"
    place.mkdir()
    for name in ("a.gif", "b.GIF", "notes"):
        (place / name).write_bytes(b"GIF89a")
    fails(folder, "digit9 holds no images that are read, but 2 .gif and 1 without an extension; convert them to one of")


def test_images_that_are_left_out_are_told(folder: Path) -> None:
    (folder / "train" / "digit0" / "more.gif").write_bytes(b"GIF89a")
    (folder / "train" / "digit1" / "more.HEIC").write_bytes(b"ftyp")
    (folder / "train" / "digit1" / "notes.txt").write_text("no image")
    Image.new("L", (16, 16)).save(folder / "test" / "lost.png")
    of_kinds, beside = load_data(folder).notes
    assert "train: 1 .gif and 1 .heic are left out; only .jpg, " in of_kinds
    assert "1 images lie beside the folders of the classes and are left out, such as lost.png" in beside


@pytest.mark.parametrize("clutter", ["@eaDir", "__MACOSX", "lost+found", ".ipynb_checkpoints"])
def test_what_systems_leave_behind_is_no_class_and_no_image(folder: Path, clutter: str) -> None:
    base = load_data(folder).fingerprint
    for place in (folder / "train" / clutter, folder / "test" / clutter, folder / "train" / "digit0" / clutter):
        place.mkdir()
        Image.new("L", (8, 8)).save(place / "thumbnail.png")
    assert load_data(folder).fingerprint == base


def test_pipes_are_no_images(folder: Path) -> None:
    os.mkfifo(folder / "train" / "digit0" / "pipe.png")
    assert sizes(load_data(folder)) == SIZES


def test_extensions_that_browsers_and_cameras_give(folder: Path) -> None:
    for name in ("000.jpg", "003.jpg"):
        path = folder / "train" / "digit1" / name
        path.rename(path.with_suffix({"000.jpg": ".jfif", "003.jpg": ".JPG"}[name]))
    assert sizes(load_data(folder)) == SIZES


def test_splits_in_capital_letters(folder: Path) -> None:
    (folder / "train").rename(folder / "Train")
    (folder / "test").rename(folder / "TEST")
    assert sizes(load_data(folder)) == SIZES


def test_a_folder_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refused(path: str | Path) -> object:
        if str(path).endswith("digit1"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)  # the superuser, who may run the tests, can read every folder
    fails(folder, r"cannot read the folder .*digit1 \(Permission denied\); check its rights")


@pytest.mark.parametrize("place", ["~nosuchuser/x", "/tmp/" + "x" * 400, "/tmp/a\0b"])  # noqa: S108 - none is made
def test_places_that_cannot_exist(place: str) -> None:
    with pytest.raises(DataError, match="does not exist; check the path"):
        load_data(place)
