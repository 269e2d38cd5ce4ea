"""All families together."""

from __future__ import annotations

import pytest
import torch
from helpers import FAST, SIZES, assert_close, forms_of, images, known_network, random_policy

from autogate.errors import PolicyError
from autogate.gates import FAMILIES, get_family

NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in SIZES]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_policies_are_the_same_in_both_forms(name: str, seed: int) -> None:
    network = known_network(name)
    policy = random_policy(network, tuple(FAMILIES), 100 + seed, share=0.7)
    masked, compact = forms_of(network, policy)
    with torch.no_grad():
        for batch in (1, 5):
            x = images(network, batch, seed)
            assert_close(compact(x), masked(x))


def test_mixtures_hold_every_family() -> None:
    network = known_network("resnet20")
    seen = {gate.family for seed in range(5) for _, gate in random_policy(network, tuple(FAMILIES), 100 + seed, 0.7)}
    assert seen == set(FAMILIES)


def test_the_registry_names_itself() -> None:
    assert list(FAMILIES) == ["drop", "magnitude", "antidote", "mod", "lcnet", "dce", "gss"]
    assert all(family.name == name for name, family in FAMILIES.items())
    with pytest.raises(PolicyError, match=r"unknown gate family 'lcnte'; did you mean 'lcnet'\? \(known: drop,"):
        get_family("lcnte")
    with pytest.raises(PolicyError, match=r"unknown gate family 'zzz' \(known"):
        get_family("zzz")
