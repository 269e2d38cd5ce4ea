from __future__ import annotations

import math

import pytest
import torch

from autogate.gates.bandit import ChannelBandit


@pytest.mark.parametrize(("arms", "k"), [(64, 16), (64, 15), (10, 7), (5, 5)])
def test_every_arm_is_played_within_the_first_steps(arms: int, k: int) -> None:
    bandit = ChannelBandit(arms, k)
    for _ in range(math.ceil(arms / k)):
        selected = bandit.select()
        assert len(selected.unique()) == k
        bandit.observe(selected, torch.rand(k))
    assert (bandit.plays >= 1).all()


def test_bonus_of_a_hand_case() -> None:
    """Section 9 of the family reference: t = 100, T = 10."""
    bandit = ChannelBandit(3, 1)
    bandit.step, bandit.plays = 100, torch.full((3,), 10.0, dtype=torch.float64)
    assert bandit.upper_bounds().tolist() == pytest.approx([0.83113] * 3, abs=1e-5)


@pytest.mark.parametrize("discount", [0.0, 0.02])
def test_the_best_arms_are_found_and_regret_flattens(discount: float) -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.linspace(0.1, 0.9, 20)[torch.randperm(20, generator=generator)]
    k, steps = 5, 4000
    bandit = ChannelBandit(20, k, discount=discount)
    best = means.topk(k)
    regret = []
    for _ in range(steps):
        selected = bandit.select()
        bandit.observe(selected, torch.bernoulli(means[selected], generator=generator))
        regret.append(float(best.values.sum() - means[selected].sum()))
    assert bandit.best().tolist() == sorted(best.indices.tolist())
    first, last = sum(regret[: steps // 4]), sum(regret[-steps // 4 :])
    if discount == 0:
        # Sub-linear: the last quarter costs a small part of what the first did.
        assert last < first / 3
        assert sum(regret) / steps < 0.2 * sum(regret[:50]) / 50
    else:
        assert last < first


def test_exploration_and_averages() -> None:
    bandit = ChannelBandit(2, 1, exploration=0.0)
    for reward in (1.0, 0.0, 0.5):
        bandit.observe(torch.tensor([1]), torch.tensor([reward]))
    assert bandit.mean.tolist() == pytest.approx([0.0, 0.5])
    discounted = ChannelBandit(2, 1, discount=0.1)
    for reward in (1.0, 0.0):
        discounted.observe(torch.tensor([1]), torch.tensor([reward]))
    assert discounted.mean.tolist() == pytest.approx([0.0, 0.9])
    assert discounted.plays.tolist() == pytest.approx([0.0, 1.999])
