"""Operators of a network are those that run."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autogate.latency.model import record_operators
from autogate.records import Operator


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
