"""A study's rows as a file of JSON lines: a header, a line per row, and a last one with their number and digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from autogate.errors import StudyError
from autogate.store.tables import SCHEMA_VERSION
from autogate.store.transfer.rows import Row

SCHEMA = "autogate.study/1"


def write_rows(path: Path, study: str, rows: Iterable[Row]) -> int:
    """Write a study's rows and return their number; the file is there when it is complete.

    Raises:
        StudyError: If it cannot be written, or is there already.
    """
    if path.exists():
        raise StudyError(f"{path} exists already; choose another file")
    part = path.with_name(path.name + ".part")
    digest, count = hashlib.sha256(), 0
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:

            def write(line: list[Any]) -> None:
                text = json.dumps(line, separators=(",", ":")) + "\n"
                digest.update(text.encode())
                file.write(text)

            write([SCHEMA, {"study": study, "database_schema": SCHEMA_VERSION}])
            for kind, values in rows:
                write([kind, values])
                count += 1
            file.write(json.dumps(["end", {"rows": count, "sha256": digest.hexdigest()}]) + "\n")
        part.replace(path)
    except OSError as error:
        raise StudyError(f"cannot write {path}: {error.strerror}; choose another file") from None
    finally:
        part.unlink(missing_ok=True)
    return count


def read_rows(path: Path) -> tuple[str, Iterator[Row]]:
    """Check a file that :func:`write_rows` wrote; return the study's name and its rows.

    The whole file is read once before the first row is returned.

    Raises:
        StudyError: If it cannot be read, is truncated, was changed, or is of another version.
    """
    digest, count, end = hashlib.sha256(), -1, None
    for line, (kind, values) in _lines(path):
        if kind == "end":
            end = values
        elif end is None:
            digest.update(line)
            count += 1
    if end is None:
        raise StudyError(f"{path} is truncated; export the study again")
    if end.get("rows") != count or end.get("sha256") != digest.hexdigest():
        raise StudyError(f"{path} was changed; export the study again")
    _, (schema, header) = next(_lines(path))
    if schema != SCHEMA or header.get("database_schema") != SCHEMA_VERSION:
        raise StudyError(f"{path} was written by another version of autogate; export it with this one, or update")
    return str(header["study"]), (row for _, row in _lines(path) if row[0] not in (SCHEMA, "end"))


def _lines(path: Path) -> Iterator[tuple[bytes, Row]]:
    try:
        with path.open("rb") as file:
            for line in file:
                kind, values = json.loads(line)
                if not isinstance(kind, str) or not isinstance(values, dict):
                    raise ValueError("no row")
                yield line, (kind, values)
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError):
        raise StudyError(f"{path} is not an exported study, or damaged; export the study again") from None
