"""Proposals on resnet20, with a latency model whose answers are known."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from autogate.errors import BudgetInfeasibleError
from autogate.gates import brief
from autogate.goals import Objective, make_config
from autogate.latency.model import LatencyModel, explain_gates
from autogate.nas.loop import fastest_policy
from autogate.nas.loop.context import check_feasible
from autogate.nas.proposing import Choices, ProposalLimits, Proposer, Sensitivity, paying_gates, savings
from autogate.policy import Gate, Policy
from autogate.space import parse_space
from autogate.space.bound import DENSE_CHOICE, BoundSpace, bind
from tests.support.networks import known_network
from tests.support.profiles import profile_of, some_context

NETWORK = known_network("resnet20")
BLOCKS = [name for name, site in NETWORK.sites.items() if site.kind == "block"]
GATES = {
    "block": [{"family": "drop"}],
    "map": [{"family": "magnitude", "genes": {"ratio": [0.25, 0.5]}}],
}


def space_of(**sites: Any) -> BoundSpace:
    data = {
        "schema": "autogate.space/1",
        "sites": sites or GATES,
        "training": {"targeted_dropout": [1.0, 0.5]},
    }
    return bind(parse_space(data, "test"), NETWORK.sites)


SPACE = space_of()
LATENCY = LatencyModel(profile_of(NETWORK, SPACE.gates()), NETWORK)


def upper(policy: Policy) -> float:
    return LATENCY.expected(policy).upper("p95")


def proposer(limit: float | None, losses: dict[str, float] | None = None, space: BoundSpace = SPACE) -> Proposer:
    """Return a proposer; ``losses`` says what gates at a site cost, 1.0 unless told."""
    saved = savings(space, LATENCY)
    increase = {key: (losses or {}).get(key[0], 1.0) for key in saved}
    limit_ms = None if limit is None else limit * LATENCY.dense_ms
    return Proposer(
        space,
        NETWORK.sites,
        ProposalLimits(upper, limit_ms, LATENCY.dense_ms, fastest_policy(space, LATENCY)),
        Sensitivity(increase, saved),
        seed=0,
    )


def gated(choices: Choices) -> set[str]:
    return {name for name, choice in choices.items() if choice != DENSE_CHOICE and name not in SPACE.knobs}


@pytest.mark.parametrize("limit", [0.9, 0.75, 0.6, 0.45])
def test_guided_proposals_fill_the_budget_and_no_more(limit: float) -> None:
    asked = proposer(limit)
    for seed in range(10):
        choices = asked.guided(random.Random(seed), None)
        assert choices is not None
        assert set(choices) == set(SPACE.all_choices())
        assert all(choice in SPACE.all_choices()[name] for name, choice in choices.items())
        assert upper(asked.policy(choices)) <= limit * LATENCY.dense_ms
        # Taking any gate back would break the budget.
        for name in gated(choices):
            assert upper(asked.policy({**choices, name: DENSE_CHOICE})) > limit * LATENCY.dense_ms


def test_guided_proposals_differ() -> None:
    asked = proposer(0.7)
    found = [asked.guided(random.Random(seed), None) for seed in range(10)]
    assert len({asked.policy(choices).digest for choices in found}) >= 5
    assert asked.guided(random.Random(3), None) == asked.guided(random.Random(3), None)


def test_guided_proposals_spare_what_hurts() -> None:
    cheap, dear = BLOCKS[:3], BLOCKS[3:]
    asked = proposer(0.85, {name: 100.0 for name in NETWORK.sites if name not in cheap})
    for seed in range(10):
        chosen = gated(asked.guided(random.Random(seed), None))
        assert chosen
        assert chosen <= set(cheap)
    assert not chosen & set(dear)


def test_a_family_alone() -> None:
    asked = proposer(0.85)
    for family in ("drop", "magnitude"):
        choices = asked.guided(random.Random(0), family)
        assert {gate.family for _, gate in asked.policy(choices)} == {family}


def test_stronger_gates_take_the_place_of_weaker_ones_where_they_must() -> None:
    # The milder ratio is cheaper everywhere, and not enough.
    saved = savings(SPACE, LATENCY)
    increase = {(name, choice): 0.01 if "0.25" in choice else 100.0 for name, choice in saved}

    def everywhere(ratio: float) -> float:
        gate = Gate("magnitude", {"ratio": ratio})
        return upper(Policy({name: gate for name, site in NETWORK.sites.items() if site.kind == "map"}))

    limit_ms = (everywhere(0.25) + everywhere(0.5)) / 2
    asked = Proposer(
        SPACE,
        NETWORK.sites,
        ProposalLimits(upper, limit_ms, LATENCY.dense_ms, fastest_policy(SPACE, LATENCY)),
        Sensitivity(increase, saved),
        seed=0,
    )
    choices = asked.guided(random.Random(0), "magnitude", noise=0.0)
    ratios = {choices[name] for name in gated(choices)}
    assert ratios == {"magnitude(ratio=0.25)", "magnitude(ratio=0.5)"}
    assert upper(asked.policy(choices)) <= limit_ms


def test_where_nothing_fills_the_budget_by_rank_the_lightest_is_tried() -> None:
    asked = proposer(0.01)
    assert any(asked.policy(choices).gates == fastest_policy(SPACE, LATENCY).gates for choices in asked.seeds())


def test_a_budget_out_of_reach_has_no_guided_proposal() -> None:
    # Half of every inner map leaves three quarters of the units that have one.
    assert proposer(0.5).guided(random.Random(0), "magnitude") is None
    assert proposer(0.01).guided(random.Random(0), None) is None


def test_without_a_budget_proposals_aim_at_different_latencies() -> None:
    asked = proposer(None)
    found = [asked.guided(random.Random(seed), None) for seed in range(20)]
    times = sorted(upper(asked.policy(choices)) / LATENCY.dense_ms for choices in found if choices is not None)
    assert len(times) >= 15
    assert times[0] < 0.6
    assert times[-1] > 0.8


def test_seeds() -> None:
    asked = proposer(0.85)
    seeds = asked.seeds()
    assert gated(seeds[0]) == set()  # dense comes first
    families = [{gate.family for _, gate in asked.policy(choices)} for choices in seeds]
    assert {"drop"} in families
    assert {"magnitude"} in families
    # Each family once at every site it fits.
    assert any(gated(choices) == set(BLOCKS) for choices in seeds)
    assert len({tuple(sorted(choices.items())) for choices in seeds}) == len(seeds)
    assert asked.seeds() == seeds


def test_neighbours_differ_and_keep_the_budget() -> None:
    asked = proposer(0.75)
    best = asked.guided(random.Random(0), None)
    seen = set()
    for seed in range(30):
        near = asked.neighbour(best, random.Random(seed))
        changed = [name for name in near if near[name] != best[name]]
        assert 1 <= len(changed) <= 3
        assert upper(asked.policy(near)) <= 0.75 * LATENCY.dense_ms
        seen.add(tuple(sorted(near.items())))
    assert len(seen) > 10


def test_savings_are_those_of_each_choice_alone() -> None:
    saved = savings(SPACE, LATENCY)
    assert set(saved) == {(d.name, c) for d in SPACE.decisions for c in d.choices if c != DENSE_CHOICE}
    for (decision, choice), ms in saved.items():
        policy = Policy(SPACE.policy({decision: choice}).gates)
        assert ms == pytest.approx(LATENCY.dense_ms - LATENCY.predict(policy).p50)
    tied = bind(parse_space({"schema": "autogate.space/1", "tie": "network", "sites": GATES}, "test"), NETWORK.sites)
    total = sum(ms for (_, choice), ms in saved.items() if choice == "drop")
    assert savings(tied, LATENCY)[("block", "drop")] == pytest.approx(total)


def test_gates_that_cannot_pay_are_taken_out() -> None:
    space = space_of(
        block=[{"family": "drop"}],
        map=[
            {"family": "antidote", "genes": {"channel_ratio": [0.3], "column_ratio": [0.0, 0.5]}},
            {"family": "lcnet"},
        ],
    )
    profile = profile_of(NETWORK, space.gates(), batch_size=4)
    # Let the column gate cost time: its units take twice as long as dense.
    slow = [
        type(s)(s.key, s.ms * 2.5 if "column_ratio=0.5" in s.key else s.ms, s.iqr_ms, s.passes, s.network)
        for s in profile.units
    ]
    networks = [n for n in profile.networks if not any("column_ratio=0.5" in key for key in n.keys)]
    latency = LatencyModel(
        replace(profile, units=tuple(slow), networks=tuple(networks * 4)),
        NETWORK,
    )
    left, reasons = paying_gates(space, latency)
    kept = {brief(gate) for _, gate in left.gates()}
    assert kept == {"drop", "antidote(channel_ratio=0.3)"}
    text = "\n".join(reasons)
    assert (
        "antidote(channel_ratio=0.3,column_ratio=0.5): runs no faster than dense there on this device (9 sites)" in text
    )
    assert "lcnet" in text
    assert "batch of 4 (9 sites)" in text
    # At batch 1 the channel gate may pay.
    assert "lcnet" in {gate.family for _, gate in space_of(map=[{"family": "lcnet"}]).gates()}


def test_gates_that_decide_on_data_have_no_place_in_a_cuda_graph() -> None:
    space = space_of(block=[{"family": "drop"}, {"family": "lcnet"}], map=[{"family": "lcnet"}])
    fixed = [(site, gate) for site, gate in space.gates() if gate.family == "drop"]
    profile = profile_of(NETWORK, fixed)  # as when networks are captured, without any other gate
    latency = LatencyModel(replace(profile, setting=replace(profile.setting, runtime="cuda_graph")), NETWORK)
    left, reasons = paying_gates(space, latency)
    assert {gate.family for _, gate in left.gates()} == {"drop"}
    why = "decides on data, and a CUDA graph runs the same operators every time"
    assert [reason.partition(": ")[2] for reason in reasons] == [f"{why} (16 sites)"]
    assert {found.reason for found in explain_gates(latency, space) if found.gate.family == "lcnet"} == {why}


@pytest.mark.e2e
def test_the_lightest_policy_is_lighter_than_any_proposal() -> None:
    fastest = fastest_policy(SPACE, LATENCY)
    floor = LATENCY.fastest(fastest).p50
    assert {fastest.gates[name] for name in BLOCKS} == {Gate("drop")}
    rng = random.Random(0)
    for _ in range(50):
        choices = SPACE.draw(lambda name, options: rng.choice(options))
        assert LATENCY.fastest(proposer(None).policy(choices)).p50 >= floor - 1e-9


@pytest.mark.parametrize(
    ("text", "reachable"), [("75%", True), ("40%", True), ("20%", False), ("1us", False), ("1s", True)]
)
def test_a_budget_out_of_reach_is_refused_with_the_fastest(text: str, reachable: bool) -> None:
    fastest = fastest_policy(SPACE, LATENCY)
    config = make_config(space={"schema": "autogate.space/1", "sites": GATES}, latency_budget=text)
    objective = Objective.of(config, LATENCY.dense_ms)
    context = some_context(LATENCY, SPACE, objective)
    if reachable:
        check_feasible(context)
        return
    with pytest.raises(
        BudgetInfeasibleError, match="no policy meets .* ms: the fastest reachable is predicted at"
    ) as raised:
        check_feasible(context)
    assert raised.value.exit_code == 3
    assert raised.value.fastest_ms == pytest.approx(LATENCY.fastest(fastest).p50)
    assert raised.value.budget_ms == pytest.approx(objective.limit_ms)
    assert f"{raised.value.fastest_ms:.3f} ms" in str(raised.value)
