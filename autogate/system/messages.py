"""Parts of error messages: texts on one line, names close to an unknown one, missing packages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

_MAX_NAMES = 3


def one_line(error: object, limit: int = 200, *, with_type: bool = False) -> str:
    """Return an error's message on one line, at most ``limit`` characters long.

    Args:
        error: An exception or a text; an exception without a message is given by its type.
        limit: Largest number of characters.
        with_type: Begin with the exception's type, such as ``ValueError: …``.
    """
    text = " ".join(str(error).split())
    name = type(error).__name__
    if not text:
        return name
    return (f"{name}: {text}" if with_type else text)[:limit]


def readable(path: str | Path) -> str:
    """Return a path as text on one line that any terminal and database takes.

    A file name may hold bytes that are no UTF-8, and characters that cannot be seen; they become escape sequences.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(path))


def is_text(text: str) -> bool:
    """Whether every database can store a text; a file name may hold bytes that none can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _escaped(character: str) -> str:
    # Python stands for a byte that is no UTF-8 by a character of its own.
    is_byte = "\udc80" <= character <= "\udcff"
    return f"\\x{ord(character) - 0xDC00:02x}" if is_byte else character.encode("unicode_escape").decode()


def suggest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return ``did you mean …?`` with the known names closest to ``name``, or an empty text if none is close.

    Args:
        name: The unknown name; upper and lower case count as equal.
        known: The names there are.
        prefix: Text to write before each suggested name.
    """
    by_lower_case = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=_MAX_NAMES)
    return f"did you mean {', '.join(prefix + by_lower_case[one] for one in close)}?" if close else ""


def missing_packages(what: str, packages: Mapping[str, str]) -> str | None:
    """Return that ``what`` needs packages that are not installed, and how to install them; None if there are all.

    Args:
        what: What needs them, such as ``format onnx``.
        packages: Names for pip, by the module each brings.
    """
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if not missing:
        return None
    return f"{what} needs {' and '.join(missing)}; install with `pip install {' '.join(missing)}`"
