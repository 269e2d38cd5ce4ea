from __future__ import annotations

import json
from pathlib import Path

import pytest

from autogate.errors import ProfileError
from autogate.latency.model import LatencyModel
from autogate.latency.profile import from_lines, profile_digest, read_profile, to_lines
from autogate.policy import Gate, canonical_json, digest
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")
PROFILE = profile_of(NETWORK, [("block:layer1.1", Gate("drop")), ("map:layer2.0.conv1", Gate("magnitude"))])
LINES = to_lines(PROFILE).splitlines()


def text_of(rows: list[str]) -> str:
    return "".join(row + "\n" for row in rows)


def test_round_trip(tmp_path: Path) -> None:
    assert from_lines(to_lines(PROFILE), "here") == PROFILE
    path = tmp_path / "profile.jsonl"
    path.write_text(to_lines(PROFILE), encoding="utf-8")
    again = read_profile(path)
    assert again == PROFILE
    assert profile_digest(again) == profile_digest(PROFILE)
    assert LatencyModel(again, NETWORK).dense_ms == LatencyModel(PROFILE, NETWORK).dense_ms


def test_one_object_per_line_and_a_header_that_says_what_it_is() -> None:
    rows = [json.loads(line) for line in LINES]
    assert rows[0]["schema"] == "autogate.profile/3"
    assert rows[0]["setting"] == PROFILE.setting.to_json()
    assert rows[-1].keys() == {"t", "samples", "digest"}
    assert rows[-1]["samples"] == len(PROFILE.units) + len(PROFILE.networks)


SAMPLES = len(LINES) - 2


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (LINES[:-1], f"is truncated: it ends after {SAMPLES} samples, without its last line"),
        (LINES[:9], "is truncated: it ends after 8 samples, without"),
        (LINES[:1], "is truncated: it ends after 0 samples, without"),
        (LINES[:5] + LINES[6:], f"is truncated: it has {SAMPLES - 1} of the {SAMPLES} samples that its last line"),
        (LINES[:5] + LINES[4:], f"was edited: it has {SAMPLES + 1} samples, but its last line counts {SAMPLES}"),
        ([*LINES[:-1], LINES[-1][:-10]], f"is truncated: it ends within line {len(LINES)}"),
        ([*LINES[:4], "{", *LINES[5:]], "was edited: line 5 is not JSON"),
    ],
    ids=["no end", "a few", "header alone", "a line removed", "a line added", "a line cut", "a line broken"],
)
def test_what_is_missing_or_too_much_is_told(rows: list[str], what: str) -> None:
    with pytest.raises(ProfileError, match=rf"^my\.jsonl {what}.*; .* profile again with `autogate profile`$"):
        from_lines(text_of(rows), "my.jsonl")


@pytest.mark.parametrize("text", ["", "\n", "null\n", "[]\n", "7\n", "hello\n", "{}\n"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(ProfileError, match=r"my\.jsonl"):
        from_lines(text, "my.jsonl")


def test_another_schema_is_named() -> None:
    header = {**json.loads(LINES[0]), "schema": "autogate.profile/1"}
    with pytest.raises(ProfileError, match="has schema 'autogate.profile/1', not autogate.profile/3"):
        from_lines(text_of([json.dumps(header), *LINES[1:]]), "my.jsonl")


def edited(line: int, **changes: object) -> str:
    row = {**json.loads(LINES[line]), **changes}
    rows = list(LINES)
    rows[line] = json.dumps({key: value for key, value in row.items() if value is not ...})
    return text_of(rows)


UNIT, NET = 1, len(LINES) - 2


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        (UNIT, {"key": ...}),
        (UNIT, {"colour": "red"}),
        (UNIT, {"t": ...}),
        (NET, {"keys": ...}),
        (0, {"setting": ...}),
        (0, {"input_shape": [3, 32]}),
        (0, {"setting": {**PROFILE.setting.to_json(), "clock": 3}}),
        (UNIT, {"ms": "fast"}),
        (UNIT, {"ms": None}),
        (UNIT, {"ms": float("nan")}),
        (UNIT, {"ms": -1.0}),
        (NET, {"ms": "slow"}),
        (NET, {"ms": 0.0}),
        (NET, {"ms": -5.0}),
        (NET, {"keys": "abc"}),
    ],
    ids=str,
)
def test_edited_files_are_refused(line: int, changes: dict[str, object]) -> None:
    with pytest.raises(ProfileError, match=r"my\.jsonl"):
        from_lines(edited(line, **changes), "my.jsonl")


def test_an_edited_number_is_noticed_and_both_digests_named() -> None:
    rows = [json.loads(line) for line in LINES]
    promised = rows[-1]["digest"]
    rows[UNIT]["ms"] = 123.0
    found = digest("".join(canonical_json(row) + "\n" for row in rows[:-1]))
    expected = (
        f"was edited: its last line has digest {promised}, but the lines before it have {found}; take the original"
    )
    with pytest.raises(ProfileError, match=expected):
        from_lines(edited(UNIT, ms=123.0), "my.jsonl")


def test_what_is_no_number_is_found() -> None:
    with pytest.raises(ProfileError, match=f"my.jsonl was edited: line {UNIT + 1} is not JSON .NaN is not a number"):
        from_lines(edited(UNIT, ms=float("nan")), "my.jsonl")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot read profile .*absent.jsonl"):
        read_profile(tmp_path / "absent.jsonl")
    with pytest.raises(ProfileError, match="cannot read profile"):
        read_profile(tmp_path)
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\x00\xfe" * 10)
    with pytest.raises(ProfileError, match="binary.jsonl"):
        read_profile(binary)


def test_profiles_of_the_last_schema_are_read() -> None:
    rows = [json.loads(line) for line in LINES[:-1]]
    rows[0] = {key: value for key, value in rows[0].items() if key != "method"} | {"schema": "autogate.profile/2"}
    for row in rows[1:]:
        for key in ("host_ms", "interval_ms", "phase"):
            row.pop(key, None)
    body = "".join(canonical_json(row) + "\n" for row in rows)
    end = {"t": "end", "samples": len(rows) - 1, "digest": digest(body)}
    found = from_lines(body + canonical_json(end) + "\n", "old.jsonl")
    assert found.units == PROFILE.units
    assert found.networks == PROFILE.networks
