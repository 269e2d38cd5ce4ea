from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from autogate.errors import SpaceError
from autogate.gates import FAMILIES
from autogate.space import list_spaces, load_space, parse_space
from autogate.space.bound import bind
from tests.support.networks import known_network

SCHEMA = "autogate.space/1"
# Every family ships a space of its own name.
SHIPPED = sorted({*FAMILIES.built_in(), "mod_alternate", "unified"})
# Families that the unified space leaves out: until their own training they are slices by magnitude.
NOT_UNIFIED = {"dce", "gss"}


def space(**changes: Any) -> dict[str, Any]:
    return {"schema": SCHEMA, "sites": {"block": [{"family": "drop"}]}, **changes}


def test_defaults() -> None:
    spec = parse_space(space(), "here")
    assert spec.tie == "site"
    assert spec.training == {}
    assert spec.sites.map == []
    assert parse_space(spec.to_json(), "again") == spec


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (space(colour="red"), "colour"),
        (space(sites={"blocks": []}), "sites.blocks"),
        (space(sites={"block": [{"family": "drop", "gene": {}}]}), "sites.block.0..gene"),
        (space(training={"targeted_dropout": 0.5}), "training.targeted_dropout"),
        (space(sites={"map": [{"family": "magnitude", "genes": {"ratio": []}}]}), "gene ratio has no values"),
        (space(training={"targeted_dropout": []}), "training knob targeted_dropout has no values"),
        (space(training={"targeted_dropout": {"drop": []}}), "training knob targeted_dropout has no values"),
        (space(tie="image"), "tie"),
        (space(schema="autogate.space/2"), "schema"),
        ({"sites": {}}, "schema"),
        ({"schema": SCHEMA}, "sites"),
        (space(sites={"map": [{"family": "magnitude", "genes": {"ratio": 0.5}}]}), "sites.map.0..genes.ratio"),
        ([], "must hold keys such as `sites:`"),
        (None, "must hold keys such as `sites:`"),
        ("drop", "must hold keys such as `sites:`"),
        (space(sites={"block": [{"family": "drop", "place": []}]}), "no stage is named"),
        (space(training={"targeted_dropout": [0.5, 0.5]}), "training knob targeted_dropout has a value twice"),
        (
            space(sites={"map": [{"family": "magnitude", "genes": {"ratio": [0.5, 0.5]}}]}),
            "gene ratio has a value twice",
        ),
        (space(sites={"blob": []}), "sites.blob is no known key"),
    ],
)
def test_what_is_wrong_is_named(data: object, place: str) -> None:
    with pytest.raises(SpaceError, match=f"^my.yaml: .*{place}.*autogate spaces") as raised:
        parse_space(data, "my.yaml")
    assert "\n" not in str(raised.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schema: autogate.space/1\nsites:\n  block:\n    - family: drop\n", encoding="utf-8")
    assert load_space(str(path)) == parse_space(space(), "")
    path.write_text("sites: [", encoding="utf-8")
    with pytest.raises(SpaceError, match="cannot read search space .*mine.yaml"):
        load_space(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match="mine.yaml"):
        load_space(str(path))
    with pytest.raises(SpaceError, match="no search space .*absent.yaml"):
        load_space(str(tmp_path / "absent.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SpaceError, match="cannot read search space"):
        load_space(str(tmp_path / "folder.yaml"))


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.yaml", tmp_path / "trace"
    path.write_text(f"!!python/object/apply:pathlib.Path.touch [{trace}]\n", encoding="utf-8")
    with pytest.raises(SpaceError):
        load_space(str(path))
    assert not trace.exists()


def test_unknown_names_list_what_ships() -> None:
    with pytest.raises(SpaceError, match=f"no search space 'unifed'.*{', '.join(SHIPPED)}"):
        load_space("unifed")


def test_shipped_spaces_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert os.listdir() == []
    assert list(list_spaces()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_spaces_bind_to_resnet20(name: str) -> None:
    spec = load_space(name)
    assert spec.description
    bound = bind(spec, known_network("resnet20").sites)
    families = {gate.family for _, gate in bound.gates()}
    unified = set(FAMILIES.built_in()) - NOT_UNIFIED
    assert families == (unified if name == "unified" else {name.removesuffix("_alternate")})
    assert bound.size > (100 if spec.tie != "stage" else 1)


def test_unified_offers_every_family_everywhere_it_fits() -> None:
    assert set(FAMILIES.built_in()) >= NOT_UNIFIED
    sites = known_network("resnet20").sites
    bound = bind(load_space("unified"), sites)
    by_site = {
        d.name: {gate.family for gates in d.options.values() for gate in gates.values()} for d in bound.decisions
    }
    for site, families in by_site.items():
        fitting = {name for name in FAMILIES.built_in() if FAMILIES[name].fits(sites[site])}
        assert families == fitting - NOT_UNIFIED
    assert len(by_site) == 16


def test_maps_do_not_alternate() -> None:
    with pytest.raises(SpaceError, match="only blocks alternate"):
        parse_space(
            {"schema": "autogate.space/1", "sites": {"map": [{"family": "magnitude", "place": "alternate"}]}}, "test"
        )
