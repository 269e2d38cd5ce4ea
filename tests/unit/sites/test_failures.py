"""What is said of networks that cannot be traced or run: where, what was expected and found, and what to do."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autogate.errors import ModelError
from autogate.sites import find_sites

SHAPE = (3, 32, 32)
FOREIGN = re.compile("%|num_users|While executing|traceback|immutable_|Proxy|tlparse|torch.fx|symbolic", re.I)


class Wrong(nn.Module):
    """A small network, with something between its layers and its classifier that is wrong."""

    def __init__(self, between: Callable[[Any, Tensor], Any] = lambda self, x: x, **layers: nn.Module) -> None:
        super().__init__()
        self.stem, self.unit, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 10)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.between = between

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x).relu()
        return self.head(self.between(self, y + self.unit(y)).mean((2, 3)))


class Returns(Wrong):
    """Returns something else than one tensor."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(super().forward(x))


class Masked(Wrong):
    def forward(self, x: Tensor, mask: Tensor) -> Any:
        return super().forward(x * mask)


def refusal(module: nn.Module) -> str:
    with pytest.raises(ModelError) as raised:
        find_sites(module, SHAPE)
    line = str(raised.value)
    assert "\n" not in line
    assert not FOREIGN.search(line), line
    return line


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Wrong(head=nn.Linear(9, 10)), "layer 'head' (Linear) takes 9 features and gets (1, 8); check --input-size"),
        (Wrong(unit=nn.Conv2d(6, 8, 3)), "layer 'unit' (Conv2d) takes 6 channels and gets (1, 8, 16, 16); change one"),
        (Wrong(stem=nn.Conv2d(1, 8, 3)), "layer 'stem' (Conv2d) takes 1 channel and gets (1, 3, 32, 32); give it"),
        (
            Wrong(unit=nn.Sequential(nn.Conv2d(8, 5, 1), nn.BatchNorm2d(6))),
            "layer 'unit.1' (BatchNorm2d) takes 6 channels and gets (1, 5, 16, 16); change one of the two",
        ),
        (Wrong(unit=nn.GroupNorm(2, 6)), "layer 'unit' (GroupNorm) takes 6 channels and gets (1, 8, 16, 16)"),
        (Wrong(unit=nn.LayerNorm(6)), "layer 'unit' (LayerNorm) takes shapes that end with (6,) and gets (1, 8, 16"),
        (Wrong(unit=nn.Conv2d(8, 8, 99)), "layer 'unit' (Conv2d) of (1, 8, 16, 16): Calculated padded input size"),
        (Wrong(lambda self, x: F.avg_pool2d(x, 64)), "Output size is too small; raise --input-size"),
        (Wrong(lambda self, x: x + x[:, :, :3]), "`add` of (1, 8, 16, 16) and (1, 8, 3, 16): The size of tensor a"),
        (Wrong(lambda self, x: self.unit(x.double())), "(double) and bias type (float) should be the same; keep all"),
        (Masked(), "its forward takes 'mask' beside the images; wrap it in a module that takes the images alone"),
        (Wrong(head=nn.LazyLinear(10)), "head.weight has no shape yet; run the network once on an image"),
        (Returns(lambda y: None), "the network returns no tensor; return one, or a tuple, list or dictionary"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_forward_passes_that_fail(module: nn.Module, said: str) -> None:
    assert said in refusal(module)


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (lambda self, x: x if x.sum() > 0 else -x, "its control flow depends on the values of a tensor"),
        (lambda self, x: x * len(x), "its control flow depends on the number of images in a batch"),
        (lambda self, x: x * list(range(x.shape[0]))[0], "its control flow depends on the number of images in a batch"),
        (lambda self, x: x * float(x.mean()), "its control flow depends on the values of a tensor"),
        (lambda self, x: torch.from_numpy(x.detach().numpy()), "it takes values out of a tensor"),
    ],
)
def test_networks_that_cannot_be_traced(between: Callable[[Any, Tensor], Any], said: str) -> None:
    line = refusal(Wrong(between))
    assert f"cannot trace module 'Wrong': {said}" in line
    assert re.search(r" in test_failures\.py, line \d+: `\(lambda self, x: ", line)


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (lambda self, x: self.between(self, x), "maximum recursion depth exceeded"),
        (lambda self, x: {}["missing"], "there is no 'missing'"),
        (lambda self, x: self.unitt(x), "'Wrong' object has no attribute 'unitt'"),
    ],
)
def test_networks_that_fail_by_themselves(between: Callable[[Any, Tensor], Any], said: str) -> None:
    line = refusal(Wrong(between))
    assert f"Wrong fails on an input of shape (1, 3, 32, 32): {said}" in line
    assert re.search(r" in test_failures\.py, line \d+: `\(lambda self, x: ", line)


def test_a_network_without_a_forward() -> None:
    class Empty(nn.Module):
        pass

    assert "has no forward; give it one" in refusal(Empty())


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_with_one_wrong_layer(seed: int) -> None:
    """A chain of layers that fit, but one: it is named with what it takes and what it gets."""
    draw = random.Random(seed)
    widths = [3, *(draw.randint(4, 12) for _ in range(draw.randint(3, 6)))]
    layers: list[nn.Module] = []
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    at = 3 * draw.randrange(1, len(widths) - 1) + draw.randrange(2)
    found = layers[at].weight.shape[1 if at % 3 == 0 else 0]  # type: ignore[union-attr, index, operator]
    takes = found + draw.randint(1, 3)
    layers[at] = nn.Conv2d(takes, 4, 3) if at % 3 == 0 else nn.BatchNorm2d(takes)
    line = refusal(nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 1024, 10)))
    kind = type(layers[at]).__name__
    assert f"layer '{at}' ({kind}) takes {takes} channels and gets (1, {found}, 32, 32); change one of the two" in line
