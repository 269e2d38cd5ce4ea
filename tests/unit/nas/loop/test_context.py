"""What a search finds out before its first trial, and what it keeps of an earlier run."""

from __future__ import annotations

from dataclasses import replace

from autogate.goals import Objective
from autogate.latency.model import LatencyModel
from autogate.nas.loop.context import begin_search
from autogate.nas.profiles import keep_profile
from autogate.policy import DENSE
from autogate.records import MeasuredCandidate
from autogate.space import load_space
from autogate.space.bound import bind
from autogate.store import Store
from autogate.studies import Reporter, StudyRun
from tests.support.databases import some_config
from tests.support.networks import known_network
from tests.support.profiles import profile_of, some_context, some_target

NETWORK = known_network("resnet20")
SPACE = bind(load_space("drop"), NETWORK.sites)


def test_candidates_measured_on_the_scale_of_another_profile_are_forgotten(storage: str) -> None:
    store = Store(storage, create=True)
    store.create_study("mine", some_config())
    first = profile_of(NETWORK, SPACE.gates(), networks=12)
    latency = LatencyModel(first, NETWORK)
    keys = [keep_profile(store, one) for one in (first, replace(first, created_utc="2026-07-01T00:00:00+00:00"))]
    target = some_target(profile=keys[0])
    candidates = (MeasuredCandidate(DENSE.digest, ()),)
    store.update_facts("mine", lambda facts: replace(facts, target=target, measured_candidates=candidates))
    context = some_context(latency, SPACE, Objective("pareto", "p50", None, None))
    for key, kept in ((keys[0], candidates), (keys[1], ())):
        run = StudyRun(store, "mine", some_config(), Reporter())
        begin_search(replace(context, run=run, target=replace(target, profile=key)))
        facts = store.study("mine").facts
        assert facts.target is not None
        assert (facts.target.profile, facts.measured_candidates) == (key, kept)
