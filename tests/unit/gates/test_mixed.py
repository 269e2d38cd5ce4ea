"""All families together."""

from __future__ import annotations

import pytest
import torch

from autogate.errors import PolicyError
from autogate.gates import FAMILIES, get_family
from autogate.policy import Gate, Policy
from autogate.resources import dense_macs, paper_macs, realisable_macs
from autogate.surgery import attach_gates, canonical, training_form
from tests.support.networks import FAST, SIZES, assert_close, forms_of, images, known_network, own_copy, random_policy

NETWORKS = [pytest.param(name, marks=() if name in FAST else pytest.mark.e2e) for name in SIZES]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_policies_are_the_same_in_both_forms(name: str, seed: int) -> None:
    network = known_network(name)
    policy = random_policy(network, tuple(FAMILIES), 200 + seed, share=0.7)
    masked, compact = forms_of(network, policy)
    with torch.no_grad():
        for batch in (1, 5):
            x = images(network, batch, seed)
            assert_close(compact(x), masked(x))


def test_mixtures_hold_every_family() -> None:
    network = known_network("resnet20")
    seen = {gate.family for seed in range(5) for _, gate in random_policy(network, tuple(FAMILIES), 200 + seed, 0.7)}
    assert seen == set(FAMILIES)


def test_the_registry_names_itself() -> None:
    assert FAMILIES.built_in() == ("drop", "magnitude", "antidote", "mod", "lcnet", "dce", "gss")
    assert all(family.name == name for name, family in FAMILIES.items())
    with pytest.raises(PolicyError, match=r"unknown gate family 'lcnte'; did you mean lcnet\? \(known: drop,"):
        get_family("lcnte")
    with pytest.raises(PolicyError, match=r"unknown gate family 'zzz' \(known"):
        get_family("zzz")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_policies_train(name: str, seed: int) -> None:
    network = own_copy(known_network(name))
    policy = random_policy(network, tuple(FAMILIES), 200 + seed, share=0.7)
    gates = attach_gates(network, policy)
    form = training_form(network, gates).train()
    for gate in gates.values():
        gate.begin()
    for fraction in (0.0, 0.3, 0.9):
        for gate in gates.values():
            gate.set_progress(fraction)
        form(images(network, 2, seed)).square().mean().backward()
        for gate in gates.values():
            gate.after_backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in form.parameters())


def test_one_family_thins_what_a_layer_concatenates() -> None:
    network = known_network("densenet40")
    mixed = Policy({"group:conv1": Gate("dce"), "group:dense1.0.conv": Gate("magnitude")})
    assert list(canonical(mixed, network.sites).gates) == ["group:conv1"]
    message = "magnitude at group:dense1.0.conv and dce at group:conv1 both thin what dense1.1.conv reads"
    with pytest.raises(PolicyError, match=message):
        canonical(mixed, network.sites, strict=True)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ratio", [0.5, 0.75])
def test_static_gates_leave_the_macs_that_are_counted_for_them(name: str, ratio: float) -> None:
    network = known_network(name)
    family = FAMILIES["magnitude"]
    gates = {site.name: Gate("magnitude", {"ratio": ratio}) for site in network.sites.values() if family.fits(site)}
    policy = canonical(Policy(gates), network.sites)
    _, compact = forms_of(network, policy)
    counted, executed = paper_macs(network, policy), realisable_macs(compact, [images(network, 1)])
    assert counted == pytest.approx(executed, rel=1e-6)
    assert counted < 0.7 * dense_macs(network)


@pytest.mark.parametrize("value", [10**400, True, float("nan")])
def test_numbers_of_any_size_are_refused_in_one_line(value: float) -> None:
    network = known_network("resnet20")
    with pytest.raises(PolicyError, match="magnitude at map:layer1.0.conv1: ratio must be"):
        canonical(Policy({"map:layer1.0.conv1": Gate("magnitude", {"ratio": value})}), network.sites)


def test_errors_name_family_and_site() -> None:
    network = known_network("resnet20")
    with pytest.raises(PolicyError, match="drop: the network has no site 'block:layer9.0'"):
        canonical(Policy({"block:layer9.0": Gate("drop")}), network.sites)
    with pytest.raises(PolicyError, match="block:layer1.1: unknown gate family 'drp'; did you mean drop"):
        canonical(Policy({"block:layer1.1": Gate("drp")}), network.sites)
