"""Memory budgets on resnet20, before any training."""

from __future__ import annotations

import random

import pytest
import torch

from autogate.errors import BudgetInfeasibleError, MemoryInfeasibleError
from autogate.goals import MemoryBudget, Objective, make_config
from autogate.latency.model import LatencyModel
from autogate.nas.evaluating import CandidateMemory, smallest_choices
from autogate.nas.loop import SearchContext, fastest_policy
from autogate.nas.loop.context import check_feasible
from autogate.nas.proposing import ProposalLimits, Proposer, Sensitivity, savings
from autogate.policy import DENSE, Gate, Policy
from autogate.space import parse_space
from autogate.space.bound import bind
from autogate.surgery import canonical
from tests.support.networks import known_network
from tests.support.profiles import profile_of, some_context

NETWORK = known_network("resnet20")
GATES = {
    "block": [{"family": "drop"}],
    "map": [
        {"family": "magnitude", "genes": {"ratio": [0.25, 0.5]}},
        {"family": "antidote", "genes": {"channel_ratio": [0.5]}},
    ],
    "group": [{"family": "magnitude", "genes": {"ratio": [0.5]}}],
}
SPACE = bind(parse_space({"schema": "autogate.space/1", "sites": GATES}, "test"), NETWORK.sites)
LATENCY = LatencyModel(profile_of(NETWORK, SPACE.gates()), NETWORK)
FREE = CandidateMemory(LATENCY, None)

OBJECTIVE = Objective.of(make_config(space={"sites": GATES}, latency_budget="90%"), LATENCY.dense_ms)


def limited(text: str) -> CandidateMemory:
    return CandidateMemory(LATENCY, MemoryBudget.parse(text))


def context(text: str) -> SearchContext:
    memory = limited(text)
    smallest = smallest_choices(SPACE, LATENCY, memory)
    return some_context(LATENCY, SPACE, OBJECTIVE, memory=memory, smallest=smallest)


def test_budgets_are_absolute_or_of_dense() -> None:
    dense_bytes = FREE.dense_bytes
    assert FREE.limit_bytes is None
    assert FREE.fits(DENSE)
    assert limited("60%").limit_bytes == pytest.approx(0.6 * dense_bytes)
    assert limited("1MiB").limit_bytes == 2**20
    assert limited("60%").excess_mib(DENSE) == pytest.approx(0.4 * dense_bytes / 2**20)
    assert not limited("99%").fits(DENSE)
    assert limited("100%").fits(DENSE)


def test_training_knobs_and_the_state_of_the_dice_play_no_part() -> None:
    policy = canonical(Policy({"map:layer1.0.conv1": Gate("lcnet")}), NETWORK.sites)
    profile = profile_of(NETWORK, [*SPACE.gates(), ("map:layer1.0.conv1", Gate("lcnet"))])
    memory = CandidateMemory(LatencyModel(profile, NETWORK), None)
    before = torch.random.get_rng_state()
    first = memory.peak_bytes(policy)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert memory.peak_bytes(Policy(policy.gates, {"targeted_dropout": 0.5})) == first


@pytest.mark.e2e
def test_the_smallest_choices_are_smaller_than_any_draw() -> None:
    smallest = canonical(SPACE.policy(smallest_choices(SPACE, LATENCY, FREE)), NETWORK.sites)
    rng = random.Random(0)
    drawn = [
        canonical(SPACE.policy(SPACE.draw(lambda _, options: rng.choice(options))), NETWORK.sites) for _ in "x" * 15
    ]
    assert FREE.peak_bytes(smallest) < 0.7 * FREE.dense_bytes
    assert FREE.peak_bytes(smallest) <= min(map(FREE.peak_bytes, [DENSE, fastest_policy(SPACE, LATENCY), *drawn]))


def test_a_budget_out_of_reach_is_refused_with_the_smallest() -> None:
    check_feasible(context("90%"))
    with pytest.raises(MemoryInfeasibleError, match="no policy meets .* MiB: the smallest peak memory reachable") as no:
        check_feasible(context("10%"))
    assert isinstance(no.value, BudgetInfeasibleError)
    assert no.value.exit_code == 3
    assert no.value.smallest_bytes == FREE.peak_bytes(context("10%").smallest_policy)
    assert no.value.budget_bytes == pytest.approx(0.1 * FREE.dense_bytes)
    document = no.value.document()
    assert document["schema"] == "autogate.infeasible/1"
    assert document["best"] is None
    assert document["smallest_peak_memory_bytes"] > document["memory_budget_bytes"]
    assert "raise --memory-budget" in str(no.value)


@pytest.mark.e2e
def test_proposals_keep_the_budget() -> None:
    known = context("75%")
    saved = savings(SPACE, LATENCY)
    asked = Proposer(
        SPACE,
        NETWORK.sites,
        ProposalLimits(
            lambda policy: LATENCY.expected(policy).upper("p95"),
            0.9 * LATENCY.dense_ms,
            LATENCY.dense_ms,
            known.fastest,
            known.memory.fits,
            known.smallest,
        ),
        Sensitivity(dict.fromkeys(saved, 1.0), saved),
        0,
    )
    # Dense comes first, and then the one that is known to fit.
    seeds = [asked.policy(choices) for choices in asked.seeds()]
    assert seeds[0].is_dense
    assert seeds[1].gates == known.smallest_policy.gates
    found = [asked.guided(random.Random(seed), None) for seed in range(6)]
    found += [asked.neighbour(found[0], random.Random(seed)) for seed in range(6)]
    policies = [asked.policy(choices) for choices in found]
    assert all(known.memory.fits(policy) for policy in policies)
    # No more is given up than the budget asks for.
    assert sum(policy.gates == known.smallest_policy.gates for policy in policies) == 0
    assert len({policy.digest for policy in policies}) > 6
