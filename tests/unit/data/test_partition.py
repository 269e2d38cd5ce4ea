from __future__ import annotations

import pytest
import torch

from autogate.data.image_data import stratified


@pytest.mark.parametrize("count", [1, 7, 30, 99])
def test_shares_are_even_and_nothing_is_lost(count: int) -> None:
    labels = torch.cat([torch.zeros(60), torch.ones(30), torch.full((10,), 2)]).long()
    stay, taken = stratified(labels, count, seed=4)
    assert sorted([*stay.tolist(), *taken.tolist()]) == list(range(100))
    assert len(taken) == min(count, 97)
    share = labels[taken].bincount(minlength=3) / labels.bincount()
    assert (share - count / 100).abs().max() <= 0.1
    assert set(labels[stay].tolist()) == {0, 1, 2}


def test_seed_decides() -> None:
    labels = torch.arange(50) % 5
    first, again, other = (stratified(labels, 10, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_classes_of_one_image_stay_in_training() -> None:
    stay, taken = stratified(torch.tensor([0, 1, 2, 2]), 3, seed=0)
    assert len(taken) == 1
    assert len(stay) == 3
