"""The images in a folder and below: links are followed, and each real file counts once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from autogate.errors import DataError
from autogate.system import printable

READ = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
# What a user may take for images that are read.
_UNREAD_IMAGES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".tga", ".npy", ".dcm")
# Folders that file servers, archives and bins leave behind.
_CLUTTER = ("@eadir", "__macosx", "lost+found", "$recycle.bin", "#recycle", "system volume information")


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        images: Path from the root and size in bytes of each image.
        real_files: A number for each image that only links to the same file share.
        others: Number of further files, by extension.
    """

    images: list[tuple[str, int]] = field(default_factory=list)
    real_files: list[int] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def listed(self) -> str:
        """Return what is there beside images, such as ``12 .gif and 1 without an extension``; else ``nothing``."""
        parts = [f"{count:,} {kind or 'without an extension'}" for kind, count in self.others.most_common(3)]
        return " and ".join(parts) or "nothing"

    def unread_images(self) -> Counter[str]:
        """Return how many files look like images but are not read, by extension."""
        return Counter({kind: count for kind, count in self.others.items() if kind in _UNREAD_IMAGES})


def find_images(root: Path, folder: str) -> Found:
    """Return the images in ``root / folder`` and below, sorted by path.

    Links are followed, but not to a folder above, nor twice to the same folder or file. Hidden files are left out.

    Raises:
        DataError: If a link leads nowhere, or a folder cannot be read.
    """
    found = Found()
    _walk(root, folder, _above(root / folder), set(), found)
    order = sorted(range(len(found.images)), key=found.images.__getitem__)
    found.images = [found.images[i] for i in order]
    found.real_files = [found.real_files[i] for i in order]
    return found


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; links to folders are among them.

    Raises:
        DataError: If a link leads nowhere, or the folder cannot be read.
    """
    return [entry.name for entry in visible(folder) if (facts := _facts(entry)) and stat.S_ISDIR(facts.st_mode)]


def visible(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name, without what is hidden and what systems leave behind.

    Raises:
        DataError: If the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _CLUTTER]
    except OSError as problem:
        raise DataError(f"cannot read the folder {printable(folder)} ({problem.strerror}); check its rights") from None
    return sorted(kept, key=lambda entry: entry.name)


def _walk(root: Path, folder: str, above: frozenset[int], seen: set[int], found: Found) -> None:
    """Add what ``root / folder`` holds; ``above`` are folders that it lies in, ``seen`` what was added before."""
    identity = _identity(os.stat(root / folder))
    if identity in above or identity in seen:
        return
    seen.add(identity)
    for entry in visible(root / folder):
        name = f"{folder}/{entry.name}"
        facts = _facts(entry)
        if facts is None:
            continue
        if stat.S_ISDIR(facts.st_mode):
            _walk(root, name, above | _above(entry.path) if entry.is_symlink() else above | {identity}, seen, found)
        elif stat.S_ISREG(facts.st_mode):
            _add(name, facts, seen, found)


def _add(name: str, facts: os.stat_result, seen: set[int], found: Found) -> None:
    kind, identity = _extension(name), _identity(facts)
    if kind not in READ:
        found.others[kind] += 1
    elif identity not in seen:
        seen.add(identity)
        found.images.append((name, facts.st_size))
        found.real_files.append(identity)


def _above(folder: str | Path) -> frozenset[int]:
    """Return the folders that a folder lies in, whatever links lead to it."""
    return frozenset(_identity(os.stat(parent)) for parent in Path(folder).resolve().parents)


def _facts(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what is known of a file or folder, or None for a broken link that is no image by its name."""
    try:
        return entry.stat()
    except OSError as problem:
        if _extension(entry.name) not in (*READ, ""):
            return None
        raise DataError(
            f"{printable(entry.path)} is a link that cannot be followed ({problem.strerror}); repair or remove it"
        ) from None


def _identity(facts: os.stat_result) -> int:
    return hash((facts.st_dev, facts.st_ino))


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()
