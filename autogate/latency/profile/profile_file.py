"""Profiles as JSON lines: a header, a line per sample, and a line with their number and digest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from autogate.errors import ProfileError
from autogate.policy import canonical_json, digest
from autogate.records import DeviceCard, NetworkSample, Operator, Profile, Setting, UnitForm, UnitSample
from autogate.system import why_unreadable

SCHEMA = "autogate.profile/3"
_READABLE = ("autogate.profile/2", SCHEMA)


def to_lines(profile: Profile) -> str:
    """Return the profile as JSON lines."""
    header = {
        "schema": SCHEMA,
        "model": profile.model,
        "input_shape": list(profile.input_shape),
        "created_utc": profile.created_utc,
        "setting": profile.setting.to_json(),
        "card": profile.card.to_json(),
        "method": dict(profile.method),
    }
    rows = [header, *sample_rows(profile.units, profile.networks, profile.forms)]
    body = "".join(canonical_json(row) + "\n" for row in rows)
    return body + canonical_json({"t": "end", "samples": len(rows) - 1, "digest": digest(body)}) + "\n"


def sample_rows(
    units: Sequence[UnitSample], networks: Sequence[NetworkSample], forms: Sequence[UnitForm]
) -> list[dict[str, Any]]:
    """Return samples as JSON-ready rows."""
    return [
        *({"t": "unit", **asdict(sample)} for sample in units),
        *({"t": "net", **asdict(sample), "keys": list(sample.keys)} for sample in networks),
        *({"t": "form", "key": f.key, "operators": [list(astuple(o)) for o in f.operators]} for f in forms),
    ]


def samples_of_rows(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[tuple[UnitSample, ...], tuple[NetworkSample, ...], tuple[UnitForm, ...]]:
    """Rebuild samples from :func:`sample_rows`."""
    units, networks, forms = [], [], []
    for row in rows:
        fields = {key: value for key, value in row.items() if key != "t"}
        if row["t"] == "unit":
            units.append(UnitSample(**fields))
        elif row["t"] == "form":
            forms.append(UnitForm(row["key"], tuple(Operator(*values) for values in row["operators"])))
        else:
            interval = fields.get("interval_ms")
            fields |= {"keys": tuple(fields["keys"]), "interval_ms": interval and (interval[0], interval[1])}
            networks.append(NetworkSample(**fields))
    return tuple(units), tuple(networks), tuple(forms)


def from_lines(text: str, where: str) -> Profile:
    """Rebuild a profile from :func:`to_lines`.

    Raises:
        ProfileError: If the text is truncated, edited or of another schema; names ``where`` and what is wrong.
    """
    try:
        rows = _rows(text, where)
        header, end = rows[0], rows[-1]
        if header.get("schema") not in _READABLE:
            raise ProfileError(f"{where} has schema {header.get('schema')!r}, not {SCHEMA}; profile again")
        _check_whole(rows, where)
        found = digest("".join(canonical_json(row) + "\n" for row in rows[:-1]))
        if end["digest"] != found:
            raise _edited(where, f"its last line has digest {end['digest']}, but the lines before it have {found}")
        units, networks, forms = samples_of_rows(rows[1:-1])
        c, h, w = header["input_shape"]
        setting = Setting.from_json(header["setting"])
        card = DeviceCard(**header["card"])
        created, method = header["created_utc"], header.get("method", {})
        return Profile(setting, card, header["model"], (c, h, w), created, units, networks, method, forms)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        # What Python says of an entry of another type means nothing to a user.
        why = f" ({why_unreadable(error, 100)})" if isinstance(error, KeyError | ValueError) else ""
        raise ProfileError(f"{where} is not a profile{why}; profile again") from None


def _rows(text: str, where: str) -> list[Any]:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    rows: list[Any] = []
    for number, line in lines:
        try:
            rows.append(json.loads(line, parse_constant=_no_constant))
        except ValueError as error:
            if not rows:
                raise
            if number == lines[-1][0]:
                raise _truncated(where, f"it ends within line {number}") from None
            why = "" if isinstance(error, json.JSONDecodeError) else f" ({error})"
            raise _edited(where, f"line {number} is not JSON{why}") from None
    return rows


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check_whole(rows: Sequence[Any], where: str) -> None:
    """Check that the profile has a last line, and as many samples as that line counts."""
    end = rows[-1]
    if end.get("t") != "end":
        samples = len(rows) - 1
        raise _truncated(where, f"it ends after {samples} samples, without its last line")
    samples, promised = len(rows) - 2, end["samples"]
    if samples < promised:
        raise _truncated(where, f"it has {samples} of the {promised} samples that its last line counts")
    if samples > promised:
        raise _edited(where, f"it has {samples} samples, but its last line counts {promised}")


def _truncated(where: str, what: str) -> ProfileError:
    return ProfileError(f"{where} is truncated: {what}; copy it again, or profile again with `autogate profile`")


def _edited(where: str, what: str) -> ProfileError:
    return ProfileError(f"{where} was edited: {what}; take the original, or profile again with `autogate profile`")


def read_profile(path: Path) -> Profile:
    """Read a profile file.

    Raises:
        ProfileError: If it cannot be read or is not a profile.
    """
    try:
        return from_lines(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"cannot read profile {path}: {why_unreadable(error)}") from None


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile file, and the folders it lies in.

    Raises:
        ProfileError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_lines(profile), encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"cannot write {path}: {error.strerror}; choose another file") from None


def profile_digest(profile: Profile) -> str:
    """Return the identity of a profile's content."""
    return digest(to_lines(profile))
