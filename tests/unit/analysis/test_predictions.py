"""A matrix of policies, predicted at once and one by one, for a recorded study."""

from __future__ import annotations

import numpy as np
import pytest

import autogate
from autogate.errors import PolicyError
from autogate.nas.evaluating import load_model_and_data, traced_network
from autogate.nas.profiles import searched_space
from autogate.store import Store
from autogate.surgery import canonical


@pytest.mark.e2e
def test_a_matrix_is_predicted_as_each_of_its_policies(recorded: str) -> None:
    known = autogate.predict_many("budget", storage=recorded)
    assert known.latency_ms.shape == (0,)
    config = Store(recorded).study("budget").config
    module, images = load_model_and_data(config, None, None)
    network = traced_network(module, images.preprocessing)
    space = searched_space(config, network)
    assert known.decisions == {decision.name: list(decision.choices) for decision in space.decisions}
    rng = np.random.default_rng(0)
    sizes = [len(choices) for choices in known.decisions.values()]
    matrix = rng.integers(0, sizes, (8, len(sizes)))
    matrix[0] = 0
    found = autogate.predict_many("budget", matrix, storage=recorded)
    assert (found.to_json()["label"], found.to_json()["batch_size"]) == ("predicted", config.batch_size)
    assert found.latency_ms[0] == pytest.approx(found.dense_ms)
    for row, ms in zip(matrix, found.latency_ms, strict=True):
        chosen = {name: choices[i] for (name, choices), i in zip(known.decisions.items(), row, strict=True)}
        alone = autogate.predict("budget", canonical(space.policy(chosen), network.sites), storage=recorded).to_json()
        assert ms == pytest.approx(alone["predicted_ms"]["p50"], rel=1e-9)
    assert len(set(found.latency_ms)) > 4


def test_what_is_no_matrix_of_choices_is_refused(recorded: str) -> None:
    sizes = [len(choices) for choices in autogate.predict_many("budget", storage=recorded).decisions.values()]
    count = len(sizes)
    for wrong in (np.zeros((2, count - 1), dtype=int), np.zeros(count, dtype=int), np.zeros((2, count))):
        with pytest.raises(PolicyError, match=rf"whole numbers \[policies, {count}\], one for each decision"):
            autogate.predict_many("budget", wrong, storage=recorded)
    for position in (-1, sizes[0]):
        matrix = np.zeros((2, count), dtype=int)
        matrix[1, 0] = position
        with pytest.raises(PolicyError, match=f"policy 1 takes choice {position} of .*, which has the choices 0 to"):
            autogate.predict_many("budget", matrix, storage=recorded)


def test_a_policy_is_predicted_as_its_trial_was(recorded: str) -> None:
    store = Store(recorded)
    [finalist] = store.finalists("budget")
    found = autogate.predict("budget", finalist.policy, storage=recorded).to_json()
    assert (found["label"], found["policy_digest"]) == ("predicted", finalist.policy.digest)
    assert found["predicted_ms"]["p50"] == pytest.approx(finalist.predicted["p50"], rel=0.02)
    assert found["ratio"] == pytest.approx(found["predicted_ms"]["p50"] / found["dense_ms"])
    assert found["ratio"] < 1
    dense = autogate.predict("budget", autogate.Policy(), storage=recorded).to_json()
    assert dense["predicted_ms"]["p50"] == pytest.approx(dense["dense_ms"])
    assert dense["unseen_share"] == 0


def test_a_policy_of_another_network_is_refused(recorded: str) -> None:
    other = autogate.Policy({"block:elsewhere": autogate.Gate("drop")})
    with pytest.raises(PolicyError, match="block:elsewhere"):
        autogate.predict("budget", other, storage=recorded)


def test_an_explanation_shares_the_whole_time_among_units(recorded: str) -> None:
    found = autogate.explain("budget", storage=recorded).to_json()
    assert found["model"] == "goldnet:build"
    assert sum(unit["share"] for unit in found["units"]) == pytest.approx(1.0)
    for gate in found["gates"]:
        assert (gate["saved_ms"] > 0) == (gate["reason"] is None)
    # The gates of the best policy are among those that save time.
    saving = {gate["site"] for gate in found["gates"] if gate["saved_ms"] > 0}
    [finalist] = Store(recorded).finalists("budget")
    assert {site for site, _ in finalist.policy} <= saving
