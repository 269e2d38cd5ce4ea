from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from autogate.latency.hardware import setting_of
from autogate.latency.model import cut_into_units
from autogate.latency.timing import Clock, MarkedNetwork, compare, prepare, prepare_input
from autogate.policy import DENSE
from autogate.records import Setting
from autogate.surgery import compact_form
from tests.support.networks import images, known_network


def setting(**more: object) -> Setting:
    options = {"batch_size": 2, "layout": "contiguous", "threads": 1, **more}
    return setting_of(torch.device("cpu"), **options)  # type: ignore[arg-type]


def test_preparing_moves_network_and_input_alike() -> None:
    how = setting(dtype="bfloat16", layout="channels_last")
    conv = prepare(nn.Conv2d(8, 8, 3), how)
    x = prepare_input(torch.randn(2, 8, 6, 6), how)
    assert x.dtype == conv.weight.dtype == torch.bfloat16
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def marked_network(form: fx.GraphModule) -> MarkedNetwork:
    return MarkedNetwork(form, Clock(torch.device("cpu")))


class FastClock(Clock):
    """A clock on which every step takes a little longer than the one before, and all are short."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.looks, self.ms = 0, 0.0

    def now(self) -> float:
        self.looks += 1
        self.ms += 0.001 * self.looks
        return self.ms

    def between_ms(self, start: float, end: float) -> float:
        return end - start


def test_marks_see_every_unit_and_change_nothing() -> None:
    network = known_network("resnet20")
    units = cut_into_units(network)
    form = compact_form(network, DENSE, {})
    marked = MarkedNetwork(form, FastClock())
    x = images(network, 2)
    with torch.inference_mode():
        found = marked.run(x)
        # Marks are a part of so small a network; the runs of the whole are without them.
        wholes = [marked.run(x).whole_ms for _ in range(6)]
        assert len(set(wholes)) == 4
        assert torch.equal(marked.module(x), form(x))
    parts = found.units_ms
    assert sorted(parts) == [unit.index for unit in units]
    assert all(ms > 0 for ms in parts.values())
    assert found.host_ms == {}
    with torch.inference_mode():
        # Of a network of some size, marks are no part, and the units make up the whole.
        large = marked_network(form).run(images(network, 64))
    assert 0.5 * large.whole_ms < sum(large.units_ms.values()) <= large.whole_ms


def small(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.mark.parametrize("stat", ["p50", "p95", "mean", "max"])
def test_a_network_compares_with_itself(stat: str) -> None:
    inputs = [torch.randn(2, 3, 24, 24) for _ in range(3)]
    result = compare(small(8), small(8), inputs, setting(), varies=False, stat=stat, seconds=0.6)  # type: ignore[arg-type]
    low, high = result.ratio_interval
    assert low <= high
    # No claim about speed: two equal networks are found about equally fast.
    assert low < 1.25
    assert high > 0.8
    assert result.gated.inputs == 3
    assert result.dense.repeats >= 5
    assert 0 < result.dense.p50 <= result.dense.p95 <= result.dense.max
    # A fixed cost has one latency.
    assert result.dense.p50 == result.dense.max
    assert result.setting == setting()
    assert type(result).from_json(result.to_json()) == result


def test_more_work_takes_longer() -> None:
    inputs = [torch.randn(2, 3, 24, 24)]
    result = compare(small(48), small(4), inputs, setting(), varies=False, seconds=0.6)
    assert result.ratio < 1
    assert result.ratio == pytest.approx(result.gated.p95 / result.dense.p95)


@pytest.mark.e2e
def test_inputs_that_differ_are_told_apart() -> None:
    class Sometimes(nn.Module):
        """Works thirty times as long on images that are bright."""

        def __init__(self) -> None:
            super().__init__()
            self.body = small(16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(30 if x.mean() > 0 else 1):
                y = self.body(x)
            return y

    inputs = [torch.full((2, 3, 24, 24), value) for value in (-1.0, -1.0, -1.0, 1.0)]
    result = compare(small(16), Sometimes(), inputs, setting(), varies=True, stat="max", seconds=1.5)
    assert result.gated.inputs == 4
    assert result.gated.max > 5 * result.gated.p50
    assert result.ratio > 5
