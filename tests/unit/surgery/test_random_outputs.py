"""Networks drawn by a seed, which return all sorts of things, under random policies: all forms agree."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autogate.gates import FAMILIES
from autogate.sites import difference, find_sites, tensors_of
from autogate.surgery import by_path, check_dense, compact_form, pack, restore_compact, training_form
from tests.support.heads import Unit, pooled
from tests.support.networks import lively, lively_gates, random_policy


class Drawn(nn.Module):
    """A few residual units behind a stem of random width, with one of six ends."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.channels, width = rng.choice([1, 2, 3, 9]), rng.choice([4, 8, 12])
        self.stem = nn.Sequential(nn.Conv2d(self.channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.units = nn.ModuleList(Unit(width) for _ in range(rng.randint(2, 4)))
        self.low, self.high = (rng.randrange(len(self.units)) for _ in range(2))
        self.linear, self.other, self.conv = nn.Linear(width, 3), nn.Linear(width, 7), nn.Conv2d(width, 5, 1)
        self.deep = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.end = rng.randrange(6)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        maps = []
        for unit in self.units:
            x = unit(x)
            maps.append(x)
        low, high, scores = maps[self.low], maps[self.high], self.linear(pooled(x))
        if self.end == 0:
            return {"a": {"scores": scores}, "maps": (low, high)}
        if self.end == 1:
            return [scores, None, scores.argmax(1)]
        if self.end == 2:
            return self.conv(x).flatten(2), maps
        if self.end == 3:
            return (scores, self.other(pooled(self.deep(low))), self.conv(high)) if self.training else scores
        if self.end == 4:
            side = {"side": self.conv(self.deep(low))} if self.training else {}
            return {"scores": scores, **side}
        dropped = nn.functional.dropout(pooled(low), 0.2, self.training)
        return (self.other(dropped), scores) if self.training else scores


@pytest.mark.parametrize("seed", range(12))
def test_all_forms_agree(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    model = Drawn(rng)
    shape = (model.channels, rng.choice([8, 12]), rng.choice([8, 10, 16]))
    network = check_dense(find_sites(lively(model), shape))
    policy = random_policy(network, tuple(FAMILIES), seed)
    gates = lively_gates(network, policy)
    form, x = training_form(network, gates), torch.rand(3, *shape)
    with torch.no_grad():
        masked = form.eval()(x)
        assert difference(compact_form(network, policy, gates)(x), masked, 1e-5) is None
        assert tensors_of(masked).keys() == tensors_of(model.eval()(x)).keys()
        restored = restore_compact(network, policy, pack(network.model, by_path(gates)), {})
        assert difference(restored(x), masked, 1e-5) is None
    found, expected = (tensors_of(net.train()(x)) for net in (form, model))
    assert {place: value.shape for place, value in found.items()} == {k: v.shape for k, v in expected.items()}
