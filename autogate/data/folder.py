"""An image folder: ``train/<class>/*.jpg`` next to ``test/`` or ``val/``."""

from __future__ import annotations

from pathlib import Path

from autogate.data.class_order import about_order
from autogate.data.folder_source import LAYOUT, FolderSource
from autogate.data.image_data import ImageData, Options, assemble
from autogate.data.scan import subfolders, visible
from autogate.errors import DataError
from autogate.system import printable

_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "eval"),
    "test": ("test", "testing"),
}


def load_folder(root: Path, options: Options) -> ImageData:
    """Load an image folder.

    With both validation and test folders each serves as named, unless ``options`` name other validation data. With
    one of them, it is the test split, and the validation split is taken from the training images.

    Raises:
        DataError: If the layout is wrong, the classes of the splits differ, or an image cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"{printable(root)} is not a directory; {LAYOUT}")
    present = subfolders(root)
    folders = {split: _find(root, present, names) for split, names in _SPLITS.items()}
    if folders["train"] is None:
        found = ", ".join(printable(entry.name) for entry in visible(root)[:5]) or "nothing"
        raise DataError(f"{printable(root)} has no train folder (found {found}); {LAYOUT}")
    if folders["test"] is None and folders["val"] is None:
        raise DataError(f"{printable(root)} has neither a test nor a val folder; {LAYOUT}")
    train = FolderSource(folders["train"])
    names, like = train.class_names, printable(train.root)
    if len(names) < 2:
        raise DataError(f"{like} has only the class {names[0]!r}; add a second class")
    test = FolderSource(folders["test"] or folders["val"] or root, names, like)
    val = None
    if folders["test"] is not None and folders["val"] is not None and options.val is None:
        val = FolderSource(folders["val"], names, like)
    return assemble(printable(root), train, test, val=val, class_names=names, options=options, notes=about_order(names))


def _find(root: Path, present: list[str], names: tuple[str, ...]) -> Path | None:
    """Return the folder with the first of these names, in small or capital letters."""
    by_name = {folder.lower(): folder for folder in reversed(present)}
    by_name |= {folder: folder for folder in present}
    return next((root / by_name[name] for name in names if name in by_name), None)
