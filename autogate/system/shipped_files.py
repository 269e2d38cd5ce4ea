"""Find the folders that ship with AutoGate: in a checkout, or wherever an installation put them."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def shipped_folder(folder: str) -> Path:
    """Return a folder that ships with AutoGate, such as ``search_spaces``; it is empty if nothing of it is here."""
    checkout = Path(__file__).resolve().parents[2] / folder
    if checkout.is_dir():
        return checkout
    for file in metadata.files("autogate") or ():
        if file.parent.parts[-2:] == ("autogate", folder):
            return Path(str(file.locate())).resolve().parent
    return checkout
