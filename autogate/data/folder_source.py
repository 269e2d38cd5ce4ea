"""Images in one folder per class."""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from autogate.data.as_seen import as_seen, upright, upright_size
from autogate.data.scan import READ, Found, find_images, subfolders, visible
from autogate.data.source import ImageSource
from autogate.errors import DataError
from autogate.system import printable

LAYOUT = "an image folder has train/<class>/*.jpg next to test/ or val/"


class FolderSource(ImageSource):
    """The images of one split, by class.

    Args:
        root: Folder with one folder per class.
        class_names: Classes by label, which the folders must have; None takes the folders, in the order of their names.
        like: What has those classes.

    Raises:
        DataError: If there are no classes, others than given, or one without images, or a link leads nowhere.
    """

    def __init__(self, root: Path, class_names: Sequence[str] | None = None, like: str = "") -> None:
        self.root = root
        folders = _class_folders(root)
        self.class_names = tuple(folders if class_names is None else class_names)
        _check_same_classes(root, folders, self.class_names, like)
        found = [_images_of(root, folders[name]) for name in self.class_names]
        self.files = [file for of_class in found for file in of_class.images]
        self.labels = torch.tensor([label for label, of_class in enumerate(found) for _ in of_class.images])
        self.real_files = np.array([number for of_class in found for number in of_class.real_files], dtype=np.int64)
        self.notes = (*_about_unread(root, found), *self._about_ambiguous())

    def load(self, position: int) -> Image.Image:
        """Decode a file, as a person sees it."""
        path = self._path(position)
        try:
            # Reading the whole file first is faster than letting the decoder ask for parts of it.
            with open(path, "rb") as file:
                content = file.read()
            image = Image.open(io.BytesIO(content))
            image.load()
            return as_seen(upright(image))
        except DataError as problem:
            raise DataError(f"the image {printable(path)} {problem}") from None
        except Exception as problem:  # PIL raises many types for damaged files
            raise _unreadable(path, problem) from problem

    def size_of(self, position: int) -> tuple[int, int]:
        """Read width and height from a file's header."""
        path = self._path(position)
        try:
            with Image.open(path) as image:
                return upright_size(image)
        except Exception as problem:  # PIL raises many types for damaged files
            raise _unreadable(path, problem) from problem

    def identity(self) -> str:
        """Return a hash of the relative paths and the file sizes."""
        total = hashlib.sha256()
        for name, size in self.files:
            total.update(os.fsencode(name) + f"|{size}\n".encode())
        return total.hexdigest()

    def _path(self, position: int) -> str:
        return os.path.join(self.root, self.files[position][0])

    def _about_ambiguous(self) -> list[str]:
        """Say that files lie in more than one class, which links make possible."""
        _, first, counts = np.unique(self.real_files, return_index=True, return_counts=True)
        shared = first[counts > 1]
        if not len(shared):
            return []
        example = printable(self._path(int(shared[0])))
        others = f" and {len(shared) - 1:,} other files lie" if len(shared) > 1 else " lies"
        return [f"{example}{others} in more than one class; remove the links that are wrong"]


def _class_folders(root: Path) -> dict[str, str]:
    """Return the name of each class and its folder, in the order of the folders' names."""
    folders: dict[str, str] = {}
    for folder in subfolders(root):
        # Some systems write letters with accents as one character, others as two.
        name = unicodedata.normalize("NFC", printable(folder))
        if (root / folder).resolve() in (root.resolve(), *root.resolve().parents):
            raise DataError(f"{printable(root / folder)} is a link to a folder that it lies in; remove it")
        if name in folders:
            raise DataError(f"{printable(root)} has two folders for the class {name}; move the images into one")
        folders[name] = folder
    if not folders:
        raise DataError(f"{printable(root)} holds no classes; {LAYOUT}")
    return folders


def _images_of(root: Path, folder: str) -> Found:
    found = find_images(root, folder)
    if found.images:
        return found
    place = printable(root / folder)
    if found.others:
        raise DataError(
            f"{place} holds no images that are read, but {found.listed()}; convert them to one of {', '.join(READ)}, "
            "or remove that class everywhere"
        )
    raise DataError(f"{place} holds no images; add some or remove that class everywhere")


def _check_same_classes(root: Path, folders: dict[str, str], class_names: Sequence[str], like: str) -> None:
    missing = sorted(set(class_names) - set(folders))
    extra = sorted(set(folders) - set(class_names))
    if missing or extra:
        parts = [f"lacks {', '.join(missing[:3])}"] if missing else []
        parts += [f"adds {', '.join(extra[:3])}"] if extra else []
        raise DataError(f"{printable(root)} {' and '.join(parts)}; every split needs the classes of {like}")


def _about_unread(root: Path, found: Sequence[Found]) -> list[str]:
    """Say which files look like images of a class but are none that is used."""
    notes = []
    unread = sum((of_class.unread_images() for of_class in found), Counter())
    if unread:
        kinds = " and ".join(f"{count:,} {kind}" for kind, count in unread.most_common(3))
        notes.append(f"{printable(root)}: {kinds} are left out; only {', '.join(READ)} are read")
    beside = [entry.name for entry in visible(root) if entry.name.lower().endswith(READ)]
    if beside:
        notes.append(
            f"{printable(root)}: {len(beside):,} images lie beside the folders of the classes and are left out, such "
            f"as {printable(beside[0])}"
        )
    return notes


def _unreadable(path: str, problem: Exception) -> DataError:
    if isinstance(problem, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return DataError(f"the image {printable(path)} has more than {most:,} pixels; make it smaller")
    return DataError(f"cannot read the image {printable(path)} ({type(problem).__name__}); replace or remove it")
