"""Finalists on a machine on which other work disturbs the measurement."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autogate.latency.model import VERSION, LatencyModel
from autogate.nas.loop.finalists import FinalStage
from autogate.nas.profiles import keep_profile
from autogate.policy import DENSE, Gate
from autogate.records import Comparison
from autogate.store import Store
from autogate.studies import Reporter, StudyRun
from autogate.training import TrainingBackend
from tests.support.data import few_digits
from tests.support.databases import some_config
from tests.support.networks import known_network
from tests.support.profiles import profile_of, some_target
from tests.support.records import comparison

NETWORK = known_network("resnet20")
LATENCY = LatencyModel(profile_of(NETWORK, [("block:layer1.1", Gate("drop"))]), NETWORK)


class Notes(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def store(storage: str) -> Store:
    store = Store(storage, create=True)
    store.create_study("mine", some_config())
    target = some_target(profile=keep_profile(store, LATENCY.profile), latency_model=VERSION)
    store.update_facts("mine", lambda facts: replace(facts, target=target))
    return store


def finished(store: Store, *found: Comparison) -> list[str]:
    """Finish dense in a run of its own, in which measurements are these; return what is said, and left unmeasured."""
    notes, left = Notes(), iter(found)
    run = StudyRun(store, "mine", some_config(), notes)
    memory = SimpleNamespace(dense_bytes=1)
    context: Any = SimpleNamespace(run=run, latency=LATENCY, target=run.facts.target, memory=memory)
    task = SimpleNamespace(network=NETWORK, data=few_digits(), trainer=torch.device("cpu"))
    evaluator: Any = SimpleNamespace(task=task, backend=TrainingBackend(score_fn=lambda form, part: 0.5))
    executor: Any = None
    stage = FinalStage(context, evaluator, executor, None)
    bench: Any = stage.bench
    bench.measure = lambda *_: next(left)
    for _ in range(2):  # the second time it is known
        stage.finish(0, DENSE)
    assert next(left, None) is None
    return notes.heard


def test_what_was_measured_on_a_noisy_machine_is_said_and_measured_again_by_the_next_run(store: Store) -> None:
    slow, quiet = comparison(1.0, dense_ms=2 * LATENCY.dense_ms), comparison(1.0, dense_ms=1.1 * LATENCY.dense_ms)
    [line] = finished(store, slow)
    assert line.startswith("trial 0 was measured on a noisy machine: dense took ")
    assert f"not {LATENCY.dense_ms:.3f} ms as predicted (" in line
    assert "autogate resume mine" in line
    assert finished(store, quiet) == []
    assert [one.comparison for one in store.finalists("mine")] == [quiet]
    assert finished(store) == []


def test_a_device_much_faster_than_its_profile_is_measured_once(store: Store) -> None:
    fast = comparison(1.0, dense_ms=0.6 * LATENCY.dense_ms)
    [line] = finished(store, fast)
    assert line.endswith("--fresh-profile takes another")
    assert finished(store) == []
