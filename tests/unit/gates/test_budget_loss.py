from __future__ import annotations

import pytest
import torch

from autogate.gates.budget_loss import bounds, budget_loss


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, (0.5, 0.5)), (0.165, (0.25, 0.75)), (0.33, (0.0, 1.0)), (1.0, (0.0, 1.0))]
)
def test_bounds(progress: float, expected: tuple[float, float]) -> None:
    """Section 9 of the family reference, for a target of one half."""
    assert bounds(0.5, progress) == pytest.approx(expected, abs=1e-12)


def test_loss_of_a_hand_case() -> None:
    openings, macs = torch.tensor([1.0, 0.5]), ({"a": 3}, {"b": 1})
    # Costs 3 and 1: together 0.875 of the work, 0.375 too much. At first each gate is held at one half.
    assert float(budget_loss(openings, (0.5, 0.5), macs, 1.0)) == pytest.approx(0.375**2)
    assert float(budget_loss(openings, (0.5, 0.5), macs, 0.0)) == pytest.approx(0.375**2 + 0.25 / 2)
    assert float(budget_loss(openings, (0.5, 0.5), macs, 0.165)) == pytest.approx(0.375**2 + 0.25**2 / 2)
    assert float(budget_loss(torch.tensor([0.3, 0.7]), (0.3, 0.7), macs, 0.0)) == pytest.approx(0.0, abs=1e-12)


def test_a_layer_that_two_gates_reach_runs_at_the_product_of_their_openings() -> None:
    block, inner = {"a": 3, "b": 1}, {"a": 3}
    openings = torch.tensor([0.5, 0.5])
    # a runs at a quarter, b at a half: 0.3125 of the work; all open would be 1.
    assert float(budget_loss(openings, (1.0, 1.0), (block, inner), 1.0)) == pytest.approx((1 - 0.3125) ** 2)
    assert float(budget_loss(openings, (0.5, 0.5), (block, inner), 1.0)) == pytest.approx(0.0, abs=1e-12)
