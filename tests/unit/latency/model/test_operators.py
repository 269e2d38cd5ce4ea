"""Operators of a network are those that run; which limit of a device binds them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autogate.latency.model import record_operators, roofline
from autogate.latency.model.operators import Roofline, sum_of
from autogate.records import Operator
from tests.support.profiles import CARD, SETTING


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
