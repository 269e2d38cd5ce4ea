"""Networks whose code asks for sizes, checks them, or takes more arguments than images."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autogate.errors import ModelError
from autogate.policy import DENSE
from autogate.sites import find_sites
from autogate.surgery import compact_form
from tests.support.networks import assert_close, lively

SHAPE = (3, 16, 16)


class Squeeze(nn.Module):
    """Squeeze-excite as it is usually written: two of four sizes are unpacked for nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        return x * self.fc(self.pool(x).view(b, c)).view(b, c, 1, 1).expand_as(x)


class Unit(nn.Module):
    def __init__(self, check: Callable[[Tensor], Any] = lambda x: None, squeeze: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.squeeze = Squeeze(8) if squeeze else nn.Identity()
        self.check = check

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.check(x)
        if mask is not None:
            x = x * mask
        return torch.relu(x + self.squeeze(self.conv2(self.conv1(x).relu())))


class Net(nn.Module):
    def __init__(self, unit: nn.Module) -> None:
        super().__init__()
        self.stem, self.unit, self.head = nn.Conv2d(3, 8, 3, padding=1), unit, nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.unit(self.stem(x)).mean((2, 3)))


class ManyArguments(Net):
    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        return_features: bool = False,
        mask: Tensor | None = None,
        *others: Tensor,
        sizes: tuple[int, int] = (2, 3),
        **more: Tensor,
    ) -> Any:
        if others or more:
            raise ValueError("too many")
        features = self.unit(self.stem(x), mask).mean(sizes)
        return (self.head(features), features) if return_features else self.head(features)


def sites_of(module: nn.Module) -> list[str]:
    """Return the sites that are neither groups nor anything else, once the compact form is known to be right."""
    network = find_sites(lively(module), SHAPE)
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert_close(compact_form(network, DENSE, {})(x), module(x))
    return [name for name in network.sites if not name.startswith("group:")]


class MakesTensors(Net):
    """Makes a tensor of a size that it asks for, in float32 whatever the weights are."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x @ torch.eye(x.shape[-1]))


SITES = ["block:unit", "map:unit.conv1"]


def test_sizes_that_are_unpacked_and_not_used_are_no_readers() -> None:
    assert sites_of(Net(Unit(squeeze=True))) == SITES


def test_other_arguments_have_their_defaults() -> None:
    module = ManyArguments(Unit())
    assert sites_of(module) == SITES
    assert [node.target for node in find_sites(module, SHAPE).graph.nodes if node.op == "placeholder"] == ["x"]


def test_tensors_made_in_a_pass_are_constants() -> None:
    assert sites_of(MakesTensors(Unit())) == SITES


def asserts(x: Tensor) -> None:
    assert x.shape[1] == 8, f"8 channels, not {x.shape}"
    torch._assert(x.dim() == 4, f"not {x.dim()}")


def raises(x: Tensor) -> None:
    if x.dim() != 4 or x.ndim != 4 or len(x.shape) != 4 or x.size(1) % 8:
        raise ValueError(f"not {x.shape}")


def loops(x: Tensor) -> None:
    for size in x.shape[2:]:
        assert size > 1
    height, width = x.shape[-2:]
    assert [*range(height)]
    assert 2.0 * float(width) > 1


@pytest.mark.parametrize("check", [asserts, raises, loops])
def test_checks_of_shapes_are_decided(check: Callable[[Tensor], None]) -> None:
    assert sites_of(Net(Unit(check))) == SITES


ASKED: list[tuple[Callable[[Tensor], Any], int]] = [
    (lambda x: x.shape[1], 8),
    (lambda x: x.size(2), 16),
    (lambda x: x.dim(), 4),
    (lambda x: len(x.size()), 4),
    (lambda x: x.shape[-1], 16),
    (lambda x: x.numel() // x.size(0), 8 * 16 * 16),
]


@pytest.mark.parametrize("seed", range(4))
def test_any_combination_of_checks_is_decided(seed: int) -> None:
    rng = random.Random(seed)
    chosen = [(*asked, rng.choice([operator.eq, operator.ge, operator.le])) for asked in rng.sample(ASKED, 3)]

    def check(x: Tensor) -> None:
        assert all(compare(size(x), value) for size, value, compare in chosen)

    assert sites_of(Net(Unit(check))) == SITES


class ByBatch(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if x.shape[0] == 1 else 1)


class ByValue(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if x.mean() > 0 else 1)


@pytest.mark.parametrize(("kind", "what"), [(ByBatch, "the number of images"), (ByValue, "the values of a tensor")])
def test_what_shapes_do_not_decide_is_named_with_file_and_line(kind: type[Net], what: str) -> None:
    line = kind.forward.__code__.co_firstlineno + 1
    with pytest.raises(
        ModelError,
        match=rf"module '{kind.__name__}': its control flow depends on {what}.* in test_tracer.py, line {line}:",
    ):
        find_sites(kind(Unit()), SHAPE)


def test_a_check_that_fails_is_the_reason() -> None:
    with pytest.raises(ModelError, match=r"fails on an input of shape \(1, 4, 16, 16\)"):
        find_sites(Net(Unit()), (4, 16, 16))
    with pytest.raises(ModelError, match="fails on an input of shape .*: at most 4 channels"):
        find_sites(Net(Unit(few)), SHAPE)


def few(x: Tensor) -> None:
    assert x.shape[1] <= 4, "at most 4 channels"


def test_many_modules_that_cannot_be_opened_take_a_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    original = torch.fx.Tracer.trace
    monkeypatch.setattr(torch.fx.Tracer, "trace", lambda *args: passes.append(1) or original(*args))
    units = nn.Sequential(*(Unit(by_value) for _ in range(6)), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    network = find_sites(Net(units), SHAPE)
    assert [node.target for node in network.graph.nodes if "unit." in str(node.target)][:6] == [
        f"unit.{i}" for i in range(6)
    ]
    assert len(passes) <= 6


def by_value(x: Tensor) -> None:
    if x.mean() > 1e9:
        raise ValueError("too large")
