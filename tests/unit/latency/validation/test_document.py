"""Validations as documents, on devices whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autogate.latency.model import LatencyModel
from autogate.latency.validation import HeldOut, plan_held_out, validation_document
from autogate.latency.validation.metrics import baselines
from autogate.records import Operator
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind
from tests.support.networks import known_network
from tests.support.profiles import profile_of

NETWORK = known_network("resnet20")


@pytest.fixture(scope="module")
def space() -> BoundSpace:
    return bind(load_space("magnitude"), NETWORK.sites)


@pytest.fixture(scope="module")
def model(space: BoundSpace) -> LatencyModel:
    return LatencyModel(profile_of(NETWORK, space.gates()), NETWORK)


def test_simpler_predictors_are_told_how_slow_the_device_is(model: LatencyModel, space: BoundSpace) -> None:
    slow = LatencyModel(model.profile, NETWORK, slowdown=1.3)
    planned = tuple(plan_held_out(model, space, 10, seed=1))
    realisations = [one.realisation(NETWORK.sites, 1) for one in planned]
    operators = tuple((Operator("a", 10**6 * (i + 1), 0),) for i in range(len(planned)))
    held_out = HeldOut(planned, np.arange(1.0, 11.0), np.arange(1.0, 11.0), operators)
    as_profiled, now = (baselines(one, held_out, realisations) for one in (model, slow))
    for name in ("macs_affine", "macs_interpolation", "lookup_table"):
        assert now[name] == pytest.approx(1.3 * as_profiled[name])


def test_baselines_and_model_on_a_device_where_units_add_up(model: LatencyModel, space: BoundSpace) -> None:
    planned = tuple(plan_held_out(model, space, 25, seed=1))
    true_ms = np.array([model.predict(p.policy, p.realisation(NETWORK.sites, 1)).p50 for p in planned])
    operators = tuple((Operator("a", round(1e6 * ms), 0),) for ms in true_ms)
    held_out = HeldOut(planned, true_ms * 1.01, true_ms * 1.01, operators)
    document = validation_document(model, held_out, seed=1)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == "autogate.validate/1"
    assert (document["networks"], document["seed"], document["floor"]) == (25, 1, 0.0)
    found = document["model"]
    assert found["mape"] == pytest.approx(0.01 / 1.01)
    assert found["spearman"] == pytest.approx(1.0)
    assert document["drift"] == pytest.approx(0.01)
    # A machine that is slower throughout takes nothing from ratios.
    assert document["relative"]["model"]["mape"] == pytest.approx(0.0, abs=1e-9)
    # The profile's own networks cost what their MACs say, here by construction.
    assert document["baselines"]["macs_affine"]["mape"] == pytest.approx(0.01 / 1.01)
    assert document["baselines"]["constant"]["skill"] == pytest.approx(0.0)
    found_by = baselines(model, held_out, [p.realisation(NETWORK.sites, 1) for p in planned])
    # Its lightest network is not the lightest there is: below that, interpolation knows nothing less.
    known = [sample.ms for sample in model.profile.networks]
    within = np.clip(true_ms, min(known), max(known))
    assert found_by["macs_interpolation"] == pytest.approx(within, rel=1e-5)
    table = found_by["lookup_table"]
    assert table[0] == pytest.approx(model.dense_ms)
    # Gates in one unit share what there is to save, so that a sum of savings promises too much.
    assert (table <= true_ms + 1e-9).all()


def test_drift_between_the_two_measurements_is_taken_out_of_the_second(model: LatencyModel, space: BoundSpace) -> None:
    planned = tuple(plan_held_out(model, space, 25, seed=1))
    true_ms = np.array([model.predict(p.policy, p.realisation(NETWORK.sites, 1)).p50 for p in planned])
    operators = tuple((Operator("a", round(1e6 * ms), 0),) for ms in true_ms)
    # The device is a fifth slower than in the profile, then a half; every other network errs by one per cent.
    now = LatencyModel(model.profile, NETWORK, slowdown=1.2)
    held_out = HeldOut(planned, 1.2 * true_ms, 1.5 * true_ms * np.where(np.arange(25) % 2, 1.01, 1.0), operators)
    document = validation_document(now, held_out, 1, slowness_again=1.5)
    assert document["floor"] == document["retest"]["mape"] == pytest.approx(0.25, abs=0.01)
    assert document["floor_corrected"] == document["retest_corrected"]["mape"] == pytest.approx(0.01 * 12 / 25)
    assert document["model"]["mape"] == pytest.approx(0.0, abs=1e-9)
    assert (document["canary"], document["canary_again"]) == (1.2, 1.5)
    # Slower the second time, nothing it admits is over budget; brought to one speed, a few are, by at most 1 %.
    assert document["retest"]["violations"] <= document["retest_corrected"]["violations"]
    assert document["retest_corrected"]["violations_over_3_percent"] == 0
    unknown = validation_document(now, held_out, 1)
    assert unknown["floor"] == document["floor"]
    assert unknown["floor_corrected"] is unknown["retest_corrected"] is unknown["canary_again"] is None
