"""Parts of error messages: texts on one line, names close to an unknown one, missing packages."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_MAX_NAMES = 3
# As torch says it of a host and of a GPU.
_MEMORY = re.compile(r"can.t allocate memory|out of memory|not enough memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
_TYPES = ("float", "int", "str", "bool")
_MAPPING = "must hold keys with values"
_DEMANDS = {
    "missing": "is missing",
    "extra_forbidden": "is no known key",
    "unexpected_keyword_argument": "is no known key",
    "invalid_key": "must be a text; put it in quotes",
    "string_type": "must be a text",
    "string_unicode": "must be a text in UTF-8",
    "list_type": "must be a list, in brackets or with a dash before each item",
    "tuple_type": "must be a list",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
}


def one_line(error: object, limit: int = 200, *, with_type: bool = False) -> str:
    """Return what an error says on one line, at most ``limit`` characters long, in words that a user knows.

    Of an exception's text that is its first line, since libraries append their own affairs, or the first one after a
    heading that ends with a colon. Of an error of the operating system it is the reason and the file.

    Args:
        error: An exception or a text; an exception without a message is given by its type.
        limit: Largest number of characters.
        with_type: Begin with the exception's type, such as ``ValueError: …``.
    """
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return _cut(f"there is no module {error.name!r}", limit)
    text = _first_line(error) if isinstance(error, Exception) else " ".join(str(error).split())
    name = type(error).__name__
    if not text:
        return name
    return _cut(f"{name}: {text}" if with_type else text, limit)


def why_unreadable(error: Exception, limit: int = 200) -> str:
    """Return in a few words why a file of text cannot be read or understood.

    Args:
        error: What opening, decoding or parsing it raised, as YAML or as JSON.
        limit: Largest number of characters.
    """
    if isinstance(error, OSError) and error.strerror:
        return _cut(error.strerror, limit)
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} is not JSON"
    # YAML's errors, which are not imported for this.
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None and problem is not None:
        words = problem.replace("<stream end>", "end of file")
        if "'\\t'" in problem:
            words = "it holds a tab; indent with spaces"
        return _cut(f"line {mark.line + 1}: {words}", limit)
    return one_line(error, limit)


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the host or of a device did not suffice."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_MEMORY.search(str(error))))


def printable(text: str | Path) -> str:
    """Return a text or path on one line that any terminal and database takes.

    Line breaks and all else that is no visible character become escape sequences, as do bytes of a file name that are
    no UTF-8.
    """
    return "".join(one if one.isprintable() else _escaped(one) for one in str(text))


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


def _first_line(error: Exception) -> str:
    if callable(details := getattr(error, "errors", None)):  # pydantic's, which is not imported for this
        return _demand(details()[0])
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    if isinstance(error, KeyError) and len(error.args) == 1:
        return f"there is no {error.args[0]!r}"
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    headed = len(lines) > 1 and lines[0].endswith(":") and lines[1][0].isalnum()
    return lines[headed].rstrip(".:") if lines else ""


def _demand(detail: Mapping[str, Any]) -> str:
    """Return where data have another form than they must, and which, of one of the errors that pydantic found."""
    parts = [part for part in detail["loc"] if part not in _TYPES and "[" not in str(part)]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    if kind == "literal_error":
        said = f"must be {context['expected']}"
    else:
        said = _DEMANDS.get(kind) or detail["msg"].replace("Input should be", "must be")
    return f"{place} {said}".strip()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


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
