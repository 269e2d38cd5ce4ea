"""Scores of predictions, on cases whose answers are known and on a real device."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import known_network
from profiles import CARD, SETTING, profile_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autogate.errors import ProfileError
from autogate.latency.model import LatencyModel, record_operators, roofline
from autogate.latency.model.operators import Roofline, sum_of
from autogate.latency.profile import drift_networks, slowdown_of
from autogate.latency.timing import noise_reason, stationary
from autogate.latency.validation import HeldOut, coverage, plan_held_out, score, validation_document
from autogate.latency.validation.metrics import baselines, best_constant, budget_violations
from autogate.policy import DENSE, Policy
from autogate.records import Operator
from autogate.space import load_space
from autogate.space.bound import BoundSpace, bind

NETWORK = known_network("resnet20")


@pytest.fixture(scope="module")
def space() -> BoundSpace:
    return bind(load_space("magnitude"), NETWORK.sites)


@pytest.fixture(scope="module")
def model(space: BoundSpace) -> LatencyModel:
    return LatencyModel(profile_of(NETWORK, space.gates()), NETWORK)


def test_scores_of_a_hand_case() -> None:
    measured, predicted = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.08, 1.94, 4.0, 4.0])
    found = score(predicted, measured)
    assert found.mape == pytest.approx((0.08 + 0.03 + 0 + 0.5) / 4)
    assert found.bias == pytest.approx((0.08 - 0.03 - 0.5) / 4)
    assert (found.within_5, found.within_10) == (0.5, 0.75)
    assert found.p95_ape == pytest.approx(np.percentile([0.08, 0.03, 0.0, 0.5], 95))
    # Two predictions are equal; the others are in order.
    assert found.spearman == pytest.approx(3 / np.sqrt(10), abs=0.01)
    assert found.kendall == pytest.approx(5 / np.sqrt(6 * 5))
    assert score(measured, measured).skill == 1.0


def test_the_best_constant_is_best() -> None:
    measured = np.random.default_rng(0).uniform(1, 10, 31)
    errors = [np.abs(constant / measured - 1).mean() for constant in np.linspace(1, 10, 2000)]
    found = best_constant(measured)
    assert np.abs(found / measured - 1).mean() <= min(errors) + 1e-9
    constant = score(np.full(31, found), measured)
    assert constant.skill == pytest.approx(0.0)
    assert constant.spearman == 0.0


def test_coverage_has_its_interval() -> None:
    share, (low, high) = coverage(np.array([2.0] * 19 + [0.5]), np.ones(20))
    assert share == 0.95
    assert low < 0.80 < 0.95 < high < 1.0


def test_a_budget_is_exceeded_by_what_would_be_delivered() -> None:
    upper = np.array([1.0, 2.0, 3.0])
    assert budget_violations(upper, upper) == (0.0, 0.0)
    # The second of three bounds is 2 % too low: budgets in [2, 2.04) are exceeded, by less than 3 %.
    over, far_over = budget_violations(upper, np.array([1.0, 2.04, 3.0]))
    assert 0.01 <= over <= 0.03
    assert far_over == 0.0
    over, far_over = budget_violations(upper, np.array([1.5, 2.0, 3.0]))
    assert over == pytest.approx(0.25, abs=0.01)
    assert 0.2 < far_over < over


def test_disturbed_rounds_are_left_out() -> None:
    rng = np.random.default_rng(0)
    true_ms = np.array([1.0, 2.0, 5.0, 9.0])
    rounds = np.ones(60)
    rounds[20:45] = 1.6
    drift = 1 + 0.04 * np.sin(np.arange(60) / 5)
    table = true_ms[:, None] * (rounds * drift) * rng.normal(1, 0.01, (4, 60))
    groups = np.tile(np.arange(60), (4, 1))
    found = stationary(table, groups)
    assert not found.kept[:, 20:45].any()
    assert found.kept.sum() == 4 * 35
    assert found.medians(table) == pytest.approx(true_ms, rel=0.03)
    # One of four networks that stumbles is no disturbance of the machine.
    table = np.ones((4, 20))
    table[0, 7] = 3.0
    assert stationary(table, groups[:, :20]).kept.all()


def test_a_noisy_machine_is_noticed(model: LatencyModel) -> None:
    assert noise_reason(model.profile) is None
    noisy = tuple(replace(sample, iqr_ms=0.3 * sample.ms) for sample in model.profile.networks)
    assert "times of one network spread by 30%" in str(noise_reason(replace(model.profile, networks=noisy)))


def test_operators_are_those_that_run() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    x = torch.randn(2, 3, 6, 6)
    found = record_operators(body, x)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        body(x)
    assert 2 * sum(operator.macs for operator in found) == counter.get_total_flops()
    relu = next(operator for operator in found if operator.name == "aten.relu")
    assert relu == Operator("aten.relu", 0, 2 * 4 * 2 * 8 * 36)
    assert not [operator for operator in found if "view" in operator.name]


def test_the_roofline_is_the_highest_of_three() -> None:
    # 10^8 operations per ms, 10^7 bytes per ms, 0.002 ms to launch.
    operators = [Operator("a", 10**9, 1000), Operator("b", 0, 5 * 10**7), Operator("c", 10, 10)]
    found = roofline(operators, CARD, SETTING)
    assert (found.compute_ms, found.bandwidth_ms, found.launch_ms) == pytest.approx((20, 5, 0.002))
    assert found.total_ms == pytest.approx(25.002)
    assert found.regime == "compute-bound"
    assert roofline(operators[1:], CARD, SETTING).regime == "bandwidth-bound"


def test_limits_of_parts_share_the_time() -> None:
    one, two = Roofline(1.0, 3.0, 0.0), Roofline(0.0, 0.0, 2.0)
    assert sum_of([(one, 8.0), (two, 1.0), (Roofline(0, 0, 0), 5.0)]) == Roofline(2.0, 6.0, 1.0)
    assert sum_of([(one, 1.0), (two, 9.0)]).regime == "launch-bound"


def test_held_out_networks_reach_from_the_lightest_to_dense(model: LatencyModel, space: BoundSpace) -> None:
    planned = plan_held_out(model, space, 30, seed=3)
    assert len(planned) == 30
    assert planned[0].policy == DENSE
    ms = np.array([model.predict(p.policy, p.realisation(NETWORK.sites, 1)).p50 for p in planned])
    assert ms.min() < 0.75 * model.dense_ms
    assert np.histogram(ms, bins=5)[0].min() >= 3
    again = [p.policy.digest for p in plan_held_out(model, space, 30, seed=3)]
    assert again == [p.policy.digest for p in planned]
    assert again != [p.policy.digest for p in plan_held_out(model, space, 30, seed=4)]
    assert len(set(again)) == 30
    seen = {Policy.from_json(sample.policy).digest for sample in model.profile.networks}
    assert seen & set(again) == {DENSE.digest}


def test_a_space_that_the_profile_has_seen_whole_holds_nothing_out() -> None:
    drop = bind(load_space("drop"), NETWORK.sites).restricted(lambda site, gate: site == "block:layer1.1")
    seen = LatencyModel(profile_of(NETWORK, drop.gates()), NETWORK)
    with pytest.raises(ProfileError, match="the profile has seen every network of this space"):
        plan_held_out(seen, drop, 5, seed=0)


def test_canaries_of_the_profile_tell_how_slow_the_device_is(model: LatencyModel) -> None:
    beside = drift_networks(model, 5)
    assert len(beside) == 5
    seen = {Policy.from_json(sample.policy).digest for sample in model.profile.networks}
    assert {planned.policy.digest for planned in beside} <= seen - {DENSE.digest}
    ms = np.array([model.predict(planned.policy).p50 for planned in beside])
    # One of five that stumbles says nothing.
    assert slowdown_of(model, beside, ms * [1.3, 1.3, 9.0, 1.3, 1.3]) == pytest.approx(1.3)


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
