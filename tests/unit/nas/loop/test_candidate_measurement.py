"""What a search does where the latency model is not sure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autogate.goals import Objective
from autogate.latency.hardware import Patience, setting_of
from autogate.latency.model import LatencyModel
from autogate.latency.profile import Samples, time_networks
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


SHARE = 0.8  # of dense, that any other network takes


def measured(latency: LatencyModel, slowdowns: Iterator[float]) -> Callable[..., Samples]:
    """Return what times networks on a device that runs dense as predicted, but for a slowdown each time."""

    def time(*args: Any, **how: Any) -> Samples:
        found = time_networks(*args, **{**how, "seconds": 0.0, "min_rounds": 1})
        dense_ms = next(slowdowns) * latency.dense_ms
        wholes = [
            replace(one, ms=share * dense_ms, iqr_ms=0.0)
            for one, share in zip(found.networks, (1.0, SHARE), strict=True)
        ]
        return Samples(found.units, wholes, found.forms)

    return time


def feedback(
    store: Store, latency: LatencyModel, limit_ms: float | None, *slowdowns: float, reporter: Reporter | None = None
) -> CandidateMeasurer:
    run = StudyRun(store, "mine", some_config(), reporter or Reporter())
    return CandidateMeasurer(
        run,
        latency,
        Objective("budget", "p50", limit_ms, None),
        patience=Patience(0.0, busy_cores=lambda: 0.0),
        time=measured(latency, iter(slowdowns or [1.0] * 9)),
    )


class Notes(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


@pytest.mark.parametrize("seed", range(3))
def test_what_other_work_disturbed_is_measured_again(store: Store, seed: int) -> None:
    rng, latency, policy = random.Random(seed), model(), canonical_policy(4)
    dense_ms = latency.dense_ms
    slowdowns = [rng.uniform(1.3, 20.0), rng.uniform(1.3, 20.0), rng.uniform(0.8, 1.2)]
    assert feedback(store, latency, latency.predict(policy).p50 * 1.001, *slowdowns).maybe_measure(policy)
    # What was learnt is as if dense took what it took in the profile.
    assert [one.ms for one in latency.profile.networks if one.phase == MEASURED] == pytest.approx([SHARE * dense_ms])


def test_on_a_noisy_machine_predictions_stand(store: Store) -> None:
    latency, policy, notes = model(), canonical_policy(4), Notes()
    before = latency.predict(policy).p50
    looks = feedback(store, latency, before * 1.001, 3.0, 2.0, 1.3, reporter=notes)
    assert not looks.maybe_measure(policy)
    assert not looks.maybe_measure(policy)  # nor is it tried again: there are no times left
    assert latency.predict(policy).p50 == before
    assert store.study("mine").facts.measured_candidates == ()
    [line] = notes.heard
    assert line.startswith("candidates are not measured, only predicted: the machine is too noisy (")


def test_a_candidate_at_the_budget_is_measured_once_and_learnt_from(store: Store) -> None:
    latency = model()
    policy = canonical_policy(4)
    before = latency.predict(policy)
    looks = feedback(store, latency, before.p50 * 1.001)
    assert looks.maybe_measure(policy)
    assert not looks.maybe_measure(policy)
    found = [sample for sample in latency.profile.networks if sample.phase == MEASURED]
    assert [Policy.from_json(sample.policy) for sample in found] == [policy]
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
