from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from autogate.errors import PolicyError
from autogate.policy import DENSE, SCHEMA, Gate, Policy, canonical_json, digest

FULL = Policy(
    {
        "map:layer1.0.conv1": Gate("antidote", {"column_ratio": 0.5, "channel_ratio": 0.25}),
        "block:layer3.2": Gate("drop"),
        "block:layer1.1": Gate("lcnet", {"scale": "none", "reduction": 16}),
    },
    {"targeted_dropout": 0.5},
)


def test_canonical_json_is_one_text() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5,null]}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_digest_is_the_start_of_the_sha256_and_stays_what_it_is() -> None:
    # Digests are stored in databases: these two may never change.
    assert digest({}) == "44136fa355b3678a"
    assert DENSE.digest == digest({"schema": SCHEMA, "gates": {}, "training": {}})
    assert len(FULL.digest) == 16


def test_order_does_not_matter() -> None:
    turned = Policy(dict(reversed(FULL.gates.items())), dict(FULL.training))
    assert turned == FULL
    assert turned.digest == FULL.digest
    assert hash(turned) == hash(FULL)
    assert list(turned.gates) == sorted(FULL.gates)
    assert Gate("g", {"b": 1, "a": 2}) == Gate("g", {"a": 2, "b": 1})
    assert len({Gate("g", {"b": 1, "a": 2}), Gate("g", {"a": 2, "b": 1})}) == 1


def test_digests_tell_what_trains_from_what_runs() -> None:
    other_training = Policy(FULL.gates, {"targeted_dropout": 1.0})
    other_gates = Policy({**FULL.gates, "block:layer3.2": Gate("mod", {"c": 16})}, FULL.training)
    assert other_training.digest != FULL.digest
    assert other_training.execution_digest == FULL.execution_digest
    assert other_gates.execution_digest != FULL.execution_digest
    assert Policy(FULL.gates).digest == FULL.execution_digest


def test_round_trip_through_text() -> None:
    text = json.dumps(FULL.to_json(), indent=2)
    back = Policy.from_json(json.loads(text))
    assert back == FULL
    assert back.digest == FULL.digest
    assert back.gates["block:layer1.1"].genes["scale"] == "none"
    assert Policy.from_json(DENSE.to_json()) == DENSE
    assert DENSE.is_dense
    assert not FULL.is_dense


def test_policies_can_be_copied_and_made_again_from_what_they_are_reduced_to() -> None:
    policy = Policy({"a": Gate("drop"), "b": Gate("mod", {"c": 8})}, {"drop.targeted_dropout": 0.5})
    assert deepcopy(policy) == policy
    for found in (policy, policy.gates["b"]):
        make, parts = found.__reduce__()
        assert make(*parts) == found


def test_newer_and_foreign_data_is_refused() -> None:
    newer = {**FULL.to_json(), "schema": "autogate.policy/2"}
    with pytest.raises(PolicyError, match="autogate.policy/1.*autogate.policy/2.*update autogate"):
        Policy.from_json(newer)
    for data in ({"gates": {}}, [], None, "policy", 3):
        with pytest.raises(PolicyError, match="autogate.policy/1"):
            Policy.from_json(data)


@pytest.mark.parametrize(
    "part",
    [
        {"gates": {"block:a": "drop"}},
        {"gates": {"block:a": {"genes": {}}}},
        {"gates": {"block:a": {"family": "drop", "colour": 1}}},
        {"gates": {"block:a": {"family": "mod", "genes": {"c": [16]}}}},
        {"gates": {"block:a": {"family": "mod", "genes": [16]}}},
        {"gates": ["block:a"]},
        {"gates": None},
        {"training": {"targeted_dropout.drop": [0.5]}},
        {"training": [0.5]},
    ],
)
def test_malformed_policies_are_policy_errors(part: dict[str, object]) -> None:
    with pytest.raises(PolicyError) as raised:
        Policy.from_json({"schema": SCHEMA, "gates": {}, "training": {}, **part})
    assert "\n" not in str(raised.value)


def test_nothing_can_be_changed() -> None:
    gates = {"block:a": Gate("drop")}
    genes = {"c": 16}
    policy, gate = Policy(gates), Gate("mod", genes)
    gates["block:b"] = Gate("drop")
    genes["c"] = 8
    assert list(policy.gates) == ["block:a"]
    assert gate.genes["c"] == 16
    with pytest.raises(TypeError):
        policy.gates["block:b"] = Gate("drop")  # type: ignore[index]
    with pytest.raises(TypeError):
        gate.genes["c"] = 8  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        policy.gates = {}  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        gate.family = "drop"  # type: ignore[misc]


def test_text_form() -> None:
    assert str(Gate("drop")) == "drop"
    assert str(Gate("antidote", {"column_ratio": 0.5, "channel_ratio": 0.25})) == (
        "antidote(channel_ratio=0.25,column_ratio=0.5)"
    )
    assert [site for site, _ in FULL] == sorted(FULL.gates)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (
            {"schema": SCHEMA, "gate": {}, "training": {}},
            "a policy has no key 'gate'; it has schema, gates and training",
        ),
        ({"schema": SCHEMA, "gates": {"block:a": {"famly": "drop"}}}, "block:a: a gate needs the keys 'family'"),
        ({"schema": SCHEMA, "gates": {"block:a": {"family": 3}}}, "block:a: a gate's family must be a name, not 3"),
        (
            {"schema": SCHEMA, "gates": {"map:a": {"family": "gss", "genes": {"ratio": [1]}}}},
            "map:a: the genes of gate",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named(data: dict[str, object], complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        Policy.from_json(data)


@pytest.mark.parametrize("genes", [None, [1], {"ratio": None}, {"ratio": [0.5]}, {1: 0.5}])
def test_genes_are_plain_values(genes: Any) -> None:
    with pytest.raises(PolicyError, match="must be plain values by name"):
        Gate("magnitude", genes)


@pytest.mark.parametrize("gates", [None, [1], {"map:a": "drop"}, {"map:a": {"family": "drop"}}, {1: Gate("drop")}])
def test_gates_of_a_policy_are_gates(gates: Any) -> None:
    with pytest.raises(PolicyError, match="gates must be a Gate by site name"):
        Policy(gates)
