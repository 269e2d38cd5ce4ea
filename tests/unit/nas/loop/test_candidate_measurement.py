"""What a search does where the latency model is not sure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autogate.goals import Objective
from autogate.latency.hardware import setting_of
from autogate.latency.model import LatencyModel
from autogate.nas.loop.candidate_measurement import CandidateMeasurer
from autogate.nas.loop.context import learn_measured_candidates
from autogate.policy import Gate, Policy
from autogate.records import MEASURED, Setting, StudyFacts
from autogate.store import Store
from autogate.studies import Reporter, StudyRun
from autogate.surgery import canonical
from tests.support.databases import some_config
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")
MAPS = [site.name for site in NETWORK.sites.values() if site.kind == "map" and site.has_producer]
HALF = Gate("magnitude", {"ratio": 0.5})


def here() -> Setting:
    import torch

    return setting_of(torch.device("cpu"), batch_size=1, layout="contiguous", threads=1)


def model() -> LatencyModel:
    profile = profile_of(NETWORK, [(site, HALF) for site in MAPS])
    return LatencyModel(replace(profile, setting=here()), NETWORK)


def canonical_policy(count: int) -> Policy:
    return canonical(Policy(dict.fromkeys(MAPS[:count], HALF)), NETWORK.sites)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path / 'studies.db'}", create=True)
    store.create_study("mine", some_config())
    return store


def feedback(store: Store, latency: LatencyModel, limit_ms: float | None) -> CandidateMeasurer:
    return CandidateMeasurer(
        StudyRun(store, "mine", some_config(), Reporter()), latency, Objective("budget", "p50", limit_ms, None)
    )


def test_a_candidate_at_the_budget_is_measured_once_and_learnt_from(store: Store) -> None:
    latency = model()
    policy = canonical_policy(4)
    before = latency.predict(policy)
    looks = feedback(store, latency, before.p50 * 1.001)
    assert looks.maybe_measure(policy)
    assert not looks.maybe_measure(policy)
    measured = [sample for sample in latency.profile.networks if sample.phase == MEASURED]
    assert [Policy.from_json(sample.policy) for sample in measured] == [policy]
    # It is on the scale of the profile, in which dense takes what it took there.
    assert 0.5 * latency.dense_ms < measured[0].ms < 1.5 * latency.dense_ms
    assert latency.unseen_share(policy) == 0

    again = model()
    learn_measured_candidates(again, store.study("mine").facts)
    assert again.predict(policy).p50 == pytest.approx(latency.predict(policy).p50)
    assert not feedback(store, model(), before.p50 * 1.001).maybe_measure(policy)


@pytest.mark.e2e
def test_what_was_measured_is_stored_once_though_the_answer_was_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    latency, policy = model(), canonical_policy(4)
    looks = feedback(store, latency, latency.predict(policy).p50 * 1.001)
    update_facts = looks.run.store.update_facts

    def twice(name: str, change: Callable[[StudyFacts], StudyFacts]) -> StudyFacts:
        update_facts(name, change)
        return update_facts(name, change)

    monkeypatch.setattr(looks.run.store, "update_facts", twice)
    assert looks.maybe_measure(policy)
    assert [one.policy for one in store.study("mine").facts.measured_candidates] == [policy.digest]


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_a_clear_case_is_not_measured(store: Store, share: float) -> None:
    latency = model()
    policy = canonical_policy(4)
    assert not feedback(store, latency, share * latency.predict(policy).p50).maybe_measure(policy)
    assert all(sample.phase != MEASURED for sample in latency.profile.networks)


def test_without_a_budget_nothing_is_measured(store: Store) -> None:
    assert not feedback(store, model(), None).maybe_measure(canonical_policy(4))


@pytest.mark.e2e
def test_the_share_of_forms_never_run() -> None:
    network = known_network("vgg16_bn")
    maps = [site.name for site in network.sites.values() if site.kind == "map" and site.has_producer]
    latency = LatencyModel(profile_of(network, [(site, HALF) for site in maps], model="vgg16_bn", networks=6), network)
    assert latency.unseen_share(Policy({maps[3]: HALF})) == 0
    # The convolution between two thinned maps reads less and writes less: that was never seen.
    both = latency.unseen_share(canonical(Policy({maps[3]: HALF, maps[4]: HALF}), network.sites))
    assert 0 < both < 0.5
