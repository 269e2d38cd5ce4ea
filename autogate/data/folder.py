"""An image folder: ``train/<class>/*.jpg`` next to ``test/`` or ``val/``."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import torch
from PIL import Image

from autogate.data.image_data import ImageData, Options, assemble
from autogate.data.source import ImageSource
from autogate.errors import DataError

_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval"),
    "test": ("test", "testing"),
}
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_LAYOUT = "an image folder has train/<class>/*.jpg next to test/ or val/"


class FolderSource(ImageSource):
    """The images of one split, by class.

    Args:
        root: Folder with one folder per class.

    Raises:
        DataError: If there are no classes, or a class without images.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.class_names = tuple(sorted(entry.name for entry in _visible(root) if entry.is_dir()))
        self.files: list[tuple[str, int]] = []
        labels: list[int] = []
        for label, name in enumerate(self.class_names):
            found = _images_below(root, name)
            if not found:
                raise DataError(f"{root / name} holds no images; add some or remove that class everywhere")
            self.files += found
            labels += [label] * len(found)
        if not labels:
            raise DataError(f"{root} holds no classes; {_LAYOUT}")
        self.labels = torch.tensor(labels)

    def load(self, position: int) -> Image.Image:
        """Decode a file."""
        path = self._path(position)
        try:
            # Reading the whole file first is faster than letting the decoder ask for parts of it.
            with open(path, "rb") as file:
                content = file.read()
            image = Image.open(io.BytesIO(content))
            image.load()
        except Exception as problem:  # PIL raises many types for damaged files
            raise _unreadable(path, problem) from problem
        return image

    def size_of(self, position: int) -> tuple[int, int]:
        """Read width and height from a file's header."""
        path = self._path(position)
        try:
            with Image.open(path) as image:
                return image.size
        except Exception as problem:  # PIL raises many types for damaged files
            raise _unreadable(path, problem) from problem

    def identity(self) -> str:
        """Return a hash of the relative paths and the file sizes."""
        total = hashlib.sha256()
        for name, size in self.files:
            total.update(f"{name}|{size}\n".encode())
        return total.hexdigest()

    def _path(self, position: int) -> str:
        return os.path.join(self.root, self.files[position][0])


def load_folder(root: Path, options: Options) -> ImageData:
    """Load an image folder.

    With both validation and test folders each serves as named. With one of them, it is the test split, and
    the validation split is taken from the training images.

    Raises:
        DataError: If the layout is wrong, the classes of the splits differ, or an image cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a directory; {_LAYOUT}")
    folders = {split: _find(root, names) for split, names in _SPLITS.items()}
    if folders["train"] is None:
        present = ", ".join(sorted(entry.name for entry in _visible(root))[:5]) or "nothing"
        raise DataError(f"{root} has no train folder (found {present}); {_LAYOUT}")
    if folders["test"] is None and folders["val"] is None:
        raise DataError(f"{root} has neither a test nor a val folder; {_LAYOUT}")
    train = FolderSource(folders["train"])
    if len(train.class_names) < 2:
        raise DataError(f"{train.root} has only the class {train.class_names[0]!r}; add a second class")
    others = {split: FolderSource(path) for split, path in folders.items() if split != "train" and path}
    for other in others.values():
        _check_same_classes(train, other)
    test = others.get("test") or others["val"]
    val = others.get("val") if "test" in others else None
    return assemble(str(root), train, test, val=val, class_names=train.class_names, options=options)


def _visible(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _find(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _images_below(root: Path, folder: str) -> list[tuple[str, int]]:
    """Return the images in a folder and below, as path from ``root`` and size in bytes, sorted."""
    found: list[tuple[str, int]] = []
    for entry in _visible(root / folder):
        name = f"{folder}/{entry.name}"
        if entry.is_dir():
            found += _images_below(root, name)
        elif entry.name.lower().endswith(_EXTENSIONS):
            found.append((name, entry.stat().st_size))
    return sorted(found)


def _check_same_classes(train: FolderSource, other: FolderSource) -> None:
    missing = sorted(set(train.class_names) - set(other.class_names))
    extra = sorted(set(other.class_names) - set(train.class_names))
    if missing or extra:
        parts = [f"lacks {', '.join(missing[:3])}"] if missing else []
        parts += [f"adds {', '.join(extra[:3])}"] if extra else []
        raise DataError(f"{other.root} {' and '.join(parts)}; every split needs the classes of {train.root}")


def _unreadable(path: str, problem: Exception) -> DataError:
    return DataError(f"cannot read the image {path} ({type(problem).__name__}); replace or remove it")
