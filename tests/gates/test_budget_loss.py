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
    openings = torch.tensor([1.0, 0.5])
    # Costs 3 and 1: together 0.875 of the work, 0.375 too much. At first each gate is held at one half.
    assert float(budget_loss(openings, (0.5, 0.5), (3, 1), 1.0)) == pytest.approx(0.375**2)
    assert float(budget_loss(openings, (0.5, 0.5), (3, 1), 0.0)) == pytest.approx(0.375**2 + 0.25 / 2)
    assert float(budget_loss(openings, (0.5, 0.5), (3, 1), 0.165)) == pytest.approx(0.375**2 + 0.25**2 / 2)
    assert float(budget_loss(torch.tensor([0.3, 0.7]), (0.3, 0.7), (3, 1), 0.0)) == pytest.approx(0.0, abs=1e-12)
