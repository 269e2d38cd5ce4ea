"""Which limit of a device binds, on hand-made operators."""

from __future__ import annotations

import pytest

from autogate.latency.model import roofline
from autogate.latency.model.operators import Roofline, sum_of
from autogate.records import Operator
from tests.support.profiles import CARD, SETTING


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
